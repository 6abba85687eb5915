# What the lake's jobs may do with this table, its stream and its failures. What they may do with the lake is said there,
# the use of its key too.
#
# IAM takes 10,240 characters of inline policies for a role, blanks not counted ("IAM and AWS STS quotas"). redrive gets
# some 830 for a table of surface kds, beside what it may do with the lake: that is enough for nine tables a lake.

data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}
data "aws_region" "current" {}

locals {
  region             = data.aws_region.current.name
  queues             = "arn:${data.aws_partition.current.partition}:sqs:${local.region}:${data.aws_caller_identity.current.account_id}"
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

resource "aws_iam_role_policy" "redrive" {
  name = "table-${local.name}"
  role = var.lake.role_names["redrive"]
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat([for statement in [
      {
        Sid      = "Queues"
        Effect   = "Allow"
        Action   = ["sqs:ChangeMessageVisibility", "sqs:DeleteMessage", "sqs:ReceiveMessage"]
        Resource = [for name in local.dead_letter_queues : "${local.queues}:${name}"]
      },
      ] : statement if length(local.dead_letter_queues) > 0], [
      {
        Sid      = "Stream"
        Effect   = "Allow"
        Action   = [for action in ["GetRecords", "GetShardIterator"] : "${local.is_kds ? "kinesis" : "dynamodb"}:${action}"]
        Resource = [local.stream_arn]
      },
      {
        Sid      = "Failures"
        Effect   = "Allow"
        Action   = ["s3:GetObject"]
        Resource = [for prefix in local.failure_prefixes : "${var.lake.bucket_arn}/${prefix}*"]
      },
      {
        Sid       = "ListFailures"
        Effect    = "Allow"
        Action    = ["s3:ListBucket"]
        Resource  = [var.lake.bucket_arn]
        Condition = { StringLike = { "s3:prefix" = [for prefix in local.failure_prefixes : "${prefix}*"] } }
      },
      ], [for statement in [
        {
          # What a sink could not take in goes back to its queue, by SQS itself.
          Sid      = "MoveBack"
          Effect   = "Allow"
          Action   = ["sqs:CancelMessageMoveTask", "sqs:GetQueueAttributes", "sqs:ListMessageMoveTasks", "sqs:StartMessageMoveTask"]
          Resource = [for sink in local.sinks : sink.dead_queue_arn]
        },
        {
          Sid      = "ToSinks"
          Effect   = "Allow"
          Action   = ["sqs:SendMessage"]
          Resource = [for sink in local.sinks : sink.queue_arn]
        },
    ] : statement if length(var.sinks) > 0], [for statement in local.statements_of_key : statement if !local.is_kds])
  })
}
