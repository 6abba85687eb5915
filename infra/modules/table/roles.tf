# What the lake's jobs may do with this table. What they may do with the lake, and what of it bears its name, is said there,
# the use of its key too.

data "aws_partition" "current" {}
data "aws_region" "current" {}

locals {
  region             = data.aws_region.current.name
  dead_letter_queues = concat(module.consumer[*].queue_name, flatten(module.fanout[*].dead_letter_queue_names))
  sinks              = merge(module.fanout[*].sinks...)
  # Where failures lie in the bucket: what Firehose could not deliver, and what the mapping gave up whole.
  failure_prefixes = concat(
    [for name in module.stream[*].error_prefix : name if local.has_firehose],
    module.consumer[*].failures_prefix,
  )
  # Of a table that is encrypted with a key of yours: for whom reads it, or its stream.
  statements_of_key = [for arn in var.table_kms_key_arn[*] : {
    Sid       = "TableKey"
    Effect    = "Allow"
    Action    = ["kms:Decrypt"]
    Resource  = [arn]
    Condition = { StringEquals = { "kms:ViaService" = "dynamodb.${local.region}.${data.aws_partition.current.dns_suffix}" } }
  }]
}

resource "aws_iam_role_policy" "backfill" {
  name = "table-${local.name}"
  role = var.lake.role_names["backfill"]
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat([{
      Sid    = "Table"
      Effect = "Allow"
      Action = [
        "dynamodb:BatchGetItem", "dynamodb:DescribeKinesisStreamingDestination", "dynamodb:DescribeTable",
        "dynamodb:DescribeTimeToLive", "dynamodb:Scan",
      ]
      Resource = [var.table_arn]
    }], local.statements_of_key)
  })
}

resource "aws_iam_role_policy" "verify" {
  name = "table-${local.name}"
  role = var.lake.role_names["verify"]
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat([{
      Sid      = "Table"
      Effect   = "Allow"
      Action   = ["dynamodb:BatchGetItem", "dynamodb:DescribeTable", "dynamodb:Scan"]
      Resource = [var.table_arn]
    }], local.statements_of_key)
  })
}

# Of a native stream, which bears the table's name. What redrive may do with Kinesis, queues and failures is the same for
# all tables: modules/lake and, for what feeds sinks, modules/fanout say it.
resource "aws_iam_role_policy" "redrive" {
  count = local.is_kds ? 0 : 1

  name = "table-${local.name}"
  role = var.lake.role_names["redrive"]
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat([{
      Sid      = "Stream"
      Effect   = "Allow"
      Action   = ["dynamodb:GetRecords", "dynamodb:GetShardIterator"]
      Resource = [local.stream_arn]
    }], local.statements_of_key)
  })
}
