# All of it: a lake with masks, a table whose changes come by Kinesis on two ways, and the jobs on their schedules.
#
# Not in one go: the lake first (-target=module.lake), then `dynalake init` and `add-table`, then the rest. What a
# table sends before it is in lake.toml becomes dead letters, and init takes no prefix with objects in it.

provider "aws" {
  region = "eu-central-1"

  default_tags {
    tags = { project = "shop" }
  }
}

module "lake" {
  source = "../../modules/lake"

  name            = "shop"
  alarm_emails    = var.alarm_emails
  mask_secret_arn = aws_secretsmanager_secret.masks.arn
}

# [masks] secret = "arn:…" of lake.toml names it. Terraform never sees its value, nor does its state:
# aws secretsmanager put-secret-value --secret-id shop-masks --secret-string "$(openssl rand -hex 32)"
resource "aws_secretsmanager_secret" "masks" {
  #checkov:skip=CKV2_AWS_57:it never changes under a lake: equal values would come out different
  name       = "shop-masks"
  kms_key_id = module.lake.lake.kms_key_arn

  lifecycle {
    prevent_destroy = true # without it sealed dead letters cannot be opened, and nothing be masked as before
  }
}

resource "aws_dynamodb_table" "orders" {
  #checkov:skip=CKV_AWS_119:a key of AWS' does for the example; another one's ARN goes into table_kms_key_arn
  name                        = "orders"
  billing_mode                = "PAY_PER_REQUEST"
  hash_key                    = "pk"
  range_key                   = "sk"
  deletion_protection_enabled = true

  attribute {
    name = "pk"
    type = "S"
  }
  attribute {
    name = "sk"
    type = "S"
  }
  point_in_time_recovery {
    enabled = true # also what an export to S3 needs
  }
}

module "orders" {
  source = "../../modules/table"

  lake       = module.lake.lake
  table_name = aws_dynamodb_table.orders.name
  table_arn  = aws_dynamodb_table.orders.arn
  surface    = "kds"
  package    = var.package
  transform  = true # a lake with masks: Firehose by itself lands records as they are
  secret_arn = aws_secretsmanager_secret.masks.arn
}

module "jobs" {
  source = "../../modules/jobs"

  lake      = module.lake.lake
  tables    = { orders = { table_name = aws_dynamodb_table.orders.name } }
  image_tag = var.image_tag
  network   = var.network
}
