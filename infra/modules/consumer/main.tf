# The consumer: a function that lands a stream, its event source mapping, and where batches go that it gave up.

data "aws_partition" "current" {}
data "aws_region" "current" {}

locals {
  via                = "${data.aws_region.current.name}.${data.aws_partition.current.dns_suffix}"
  is_kinesis         = var.kind == "kinesis"
  record_age_seconds = coalesce(var.record_age_seconds, var.on_failure == "queue" ? 24 * 3600 : 12 * 3600)
  # Null for a table that is encrypted with a key of AWS: that needs no right.
  stream_key = local.is_kinesis ? coalesce(var.stream_kms_key_arn, var.lake.kms_key_arn) : var.stream_kms_key_arn
}

module "function" {
  source = "../function"

  lake                 = var.lake
  name                 = var.name
  role                 = "consumer"
  handler              = "ingest.handlers.stream_handler"
  package              = var.package
  stream_name          = var.stream_name
  secret_arn           = var.secret_arn
  secret_kms_key_arn   = var.secret_kms_key_arn
  poison_queue_arn     = var.poison_queue_arn
  memory_mb            = var.memory_mb
  timeout_seconds      = var.timeout_seconds
  reserved_concurrency = var.reserved_concurrency
  log_retention_days   = var.log_retention_days
}

# No filter_criteria: what a filter leaves out is not in the lake, and nobody is told.
resource "aws_lambda_event_source_mapping" "this" {
  event_source_arn                   = var.stream_arn
  function_name                      = module.function.arn
  starting_position                  = "TRIM_HORIZON" # LATEST can miss records while a mapping is made or changed
  batch_size                         = var.batch_size
  maximum_batching_window_in_seconds = var.batch_seconds
  parallelization_factor             = var.parallel
  bisect_batch_on_function_error     = true
  maximum_retry_attempts             = var.attempts
  maximum_record_age_in_seconds      = local.record_age_seconds
  function_response_types            = ["ReportBatchItemFailures"]

  destination_config {
    on_failure {
      destination_arn = var.on_failure == "queue" ? aws_sqs_queue.failures.arn : var.lake.bucket_arn
    }
  }

  # Events that were dropped, or given up to the destination, are counted only where that is asked for.
  metrics_config {
    metrics = ["EventCount"]
  }

  lifecycle {
    precondition {
      condition     = var.on_failure != "queue" || local.record_age_seconds + 72 * 3600 <= var.retention_hours * 3600
      error_message = "record_age_seconds, to a queue: 72 hours less than the retention. A message only names its records, and redrive must find them in the stream after a weekend. Keep records longer, give them up sooner, or to a bucket."
    }
    precondition {
      condition     = local.record_age_seconds + 6 * 3600 <= var.retention_hours * 3600
      error_message = "record_age_seconds: six hours less than the retention. A shard that was blocked is given up batch by batch, and its last batch must still be there."
    }
  }

  depends_on = [aws_iam_role_policy.source]
}

resource "aws_iam_role_policy" "source" {
  name = "read-and-give-up"
  role = module.function.role_name
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat([for statement in [
      {
        Sid    = "Read"
        Effect = "Allow"
        Action = [
          "kinesis:DescribeStream", "kinesis:DescribeStreamSummary", "kinesis:GetRecords", "kinesis:GetShardIterator",
          "kinesis:ListShards",
        ]
        Resource = [var.stream_arn]
      },
      ] : statement if local.is_kinesis], [for statement in [
      {
        Sid      = "Read"
        Effect   = "Allow"
        Action   = ["dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator"]
        Resource = [var.stream_arn]
      },
      {
        # Of the table's streams, old ones too: that is what the right to list them is of.
        Sid      = "List"
        Effect   = "Allow"
        Action   = ["dynamodb:ListStreams"]
        Resource = ["${split("/stream/", var.stream_arn)[0]}/stream/*"]
      },
      ] : statement if !local.is_kinesis], [for statement in [
      {
        Sid       = "StreamKey"
        Effect    = "Allow"
        Action    = ["kms:Decrypt"]
        Resource  = [local.stream_key]
        Condition = { StringEquals = { "kms:ViaService" = "${var.kind}.${local.via}" } }
      },
      ] : statement if local.stream_key != null], [for statement in [
      {
        Sid      = "GiveUp"
        Effect   = "Allow"
        Action   = ["sqs:SendMessage"]
        Resource = [aws_sqs_queue.failures.arn]
      },
      {
        Sid       = "GiveUpKey"
        Effect    = "Allow"
        Action    = ["kms:Decrypt", "kms:GenerateDataKey"]
        Resource  = [var.lake.kms_key_arn]
        Condition = { StringEquals = { "kms:ViaService" = "sqs.${local.via}" } }
      },
      ] : statement if var.on_failure == "queue"], [for statement in [
      {
        # The mapping, whose folder it is, can be made only once its function has this right.
        Sid      = "GiveUp"
        Effect   = "Allow"
        Action   = ["s3:PutObject"]
        Resource = ["${var.lake.bucket_arn}/aws/lambda/*"]
      },
      {
        # Without a prefix: Lambda looks whether the bucket is there.
        Sid      = "GiveUpBucket"
        Effect   = "Allow"
        Action   = ["s3:ListBucket"]
        Resource = [var.lake.bucket_arn]
      },
    ] : statement if var.on_failure == "bucket"])
  })
}
