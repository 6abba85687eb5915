# Two tables of one lake: one that is written to much, by Kinesis on two ways; a quiet one by its own stream, which also
# feeds a sink.

module "lake" {
  source = "../../modules/lake"
  name   = "shop"
}

resource "aws_dynamodb_table" "orders" {
  #checkov:skip=CKV_AWS_119:A key of AWS' does for the example; another one's ARN goes into table_kms_key_arn
  name         = "shop.orders"
  billing_mode = "PAY_PER_REQUEST"
  hash_key     = "pk"
  range_key    = "sk"

  attribute {
    name = "pk"
    type = "S"
  }
  attribute {
    name = "sk"
    type = "S"
  }
  point_in_time_recovery {
    enabled = true
  }
}

resource "aws_dynamodb_table" "suppliers" {
  #checkov:skip=CKV_AWS_119:As above
  name             = "suppliers"
  billing_mode     = "PAY_PER_REQUEST"
  hash_key         = "pk"
  stream_enabled   = true
  stream_view_type = "NEW_AND_OLD_IMAGES"

  attribute {
    name = "pk"
    type = "S"
  }
  point_in_time_recovery {
    enabled = true
  }
}

module "orders" {
  source = "../../modules/table"

  lake       = module.lake.lake
  table_name = aws_dynamodb_table.orders.name
  table_arn  = aws_dynamodb_table.orders.arn
  surface    = "kds"
  package    = var.package
}

module "suppliers" {
  source = "../../modules/table"

  lake             = module.lake.lake
  table_name       = aws_dynamodb_table.suppliers.name
  table_arn        = aws_dynamodb_table.suppliers.arn
  table_stream_arn = aws_dynamodb_table.suppliers.stream_arn
  surface          = "pipe"
  package          = var.package
  sinks            = { search = {} }
}

output "add_tables" {
  description = "Run these before this is applied: records of a table that the lake does not know become dead letters."
  value       = [module.orders.add_table, module.suppliers.add_table]
}
