# Firehose: the stream into raw/ of the lake, as it comes or through our transformation.

locals {
  firehose_name = "${local.name}-raw"
  raw_prefix    = "${var.lake.prefix}/raw/firehose/${var.table_name}/"
  # Outside of the lake: what is under raw/ is read by compact, and error objects are no change records.
  error_prefix = "firehose-errors/${var.table_name}/"
  log_stream   = "DestinationDelivery"
  # What is as Firehose has it by itself is left out: the provider does not keep it, and would set it anew in each plan.
  firehose_defaults = { NumberOfRetries = "3", BufferSizeInMBs = "1", BufferIntervalInSeconds = "60" }
  processors = concat(
    var.transform ? [{
      type = "Lambda"
      parameters = {
        for name, value in {
          LambdaArn               = "${module.transform[0].arn}:$LATEST"
          NumberOfRetries         = tostring(var.transform_retries)
          BufferSizeInMBs         = tostring(var.transform_buffer_mb)
          BufferIntervalInSeconds = tostring(var.transform_buffer_seconds)
        } : name => value if lookup(local.firehose_defaults, name, "") != value
      }
    }] : [],
    [{ type = "AppendDelimiterToRecord", parameters = {} }],
  )
}

resource "aws_kinesis_firehose_delivery_stream" "this" {
  #checkov:skip=CKV_AWS_240:With a Kinesis stream as its source Firehose keeps nothing itself: the stream is encrypted, and so are the objects
  #checkov:skip=CKV_AWS_241:As above; both with the lake's own key
  count       = var.firehose ? 1 : 0
  name        = local.firehose_name
  destination = "extended_s3"

  kinesis_source_configuration {
    kinesis_stream_arn = aws_kinesis_stream.this.arn
    role_arn           = aws_iam_role.firehose[0].arn
  }

  extended_s3_configuration {
    role_arn            = aws_iam_role.firehose[0].arn
    bucket_arn          = var.lake.bucket_arn
    prefix              = "${local.raw_prefix}!{timestamp:yyyy/MM/dd/HH}/"
    error_output_prefix = "${local.error_prefix}!{firehose:error-output-type}/!{timestamp:yyyy/MM/dd}/"
    compression_format  = "GZIP"
    kms_key_arn         = var.lake.kms_key_arn
    buffering_size      = var.buffer_mb
    buffering_interval  = var.buffer_seconds

    cloudwatch_logging_options {
      enabled         = true
      log_group_name  = aws_cloudwatch_log_group.firehose[0].name
      log_stream_name = aws_cloudwatch_log_stream.firehose[0].name
    }

    processing_configuration {
      enabled = true

      dynamic "processors" {
        for_each = local.processors
        content {
          type = processors.value.type

          dynamic "parameters" {
            for_each = processors.value.parameters
            content {
              parameter_name  = parameters.key
              parameter_value = parameters.value
            }
          }
        }
      }
    }
  }

  depends_on = [aws_iam_role_policy.firehose]
}

resource "aws_cloudwatch_log_group" "firehose" {
  count             = var.firehose ? 1 : 0
  name              = "/aws/kinesisfirehose/${local.firehose_name}"
  retention_in_days = var.log_retention_days
  kms_key_id        = var.lake.kms_key_arn
}

resource "aws_cloudwatch_log_stream" "firehose" {
  count          = var.firehose ? 1 : 0
  name           = local.log_stream
  log_group_name = aws_cloudwatch_log_group.firehose[0].name
}

module "transform" {
  source = "../function"
  count  = var.transform ? 1 : 0

  lake                 = var.lake
  name                 = var.name
  role                 = "transform"
  handler              = "ingest.handlers.firehose_handler"
  package              = var.package
  stream_name          = local.name
  secret_arn           = var.secret_arn
  secret_kms_key_arn   = var.secret_kms_key_arn
  poison_queue_arn     = var.poison_queue_arn
  timeout_seconds      = 300 # as long as Firehose waits
  reserved_concurrency = var.transform_concurrency
  log_retention_days   = var.log_retention_days
}

# "This ensures that only you can request Firehose to assume the IAM role" (Controlling access). AWS says nowhere that Firehose
# sends aws:SourceAccount or aws:SourceArn, and a condition on what it does not send would keep it out.
resource "aws_iam_role" "firehose" {
  count = var.firehose ? 1 : 0
  name  = "${local.name}-firehose"
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { Service = "firehose.amazonaws.com" }
      Condition = { StringEquals = { "sts:ExternalId" = data.aws_caller_identity.current.account_id } }
    }]
  })
}

resource "aws_iam_role_policy" "firehose" {
  count = var.firehose ? 1 : 0
  name  = "deliver"
  role  = aws_iam_role.firehose[0].name
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat([
      {
        Sid      = "Read"
        Effect   = "Allow"
        Action   = ["kinesis:DescribeStream", "kinesis:GetRecords", "kinesis:GetShardIterator", "kinesis:ListShards"]
        Resource = [aws_kinesis_stream.this.arn]
      },
      {
        Sid      = "Bucket"
        Effect   = "Allow"
        Action   = ["s3:GetBucketLocation", "s3:ListBucket", "s3:ListBucketMultipartUploads"]
        Resource = [var.lake.bucket_arn]
      },
      {
        Sid      = "Deliver"
        Effect   = "Allow"
        Action   = ["s3:AbortMultipartUpload", "s3:GetObject", "s3:PutObject"]
        Resource = ["${var.lake.bucket_arn}/${local.raw_prefix}*", "${var.lake.bucket_arn}/${local.error_prefix}*"]
      },
      {
        Sid       = "Key"
        Effect    = "Allow"
        Action    = ["kms:Decrypt", "kms:GenerateDataKey"]
        Resource  = [var.lake.kms_key_arn]
        Condition = { StringEquals = { "kms:ViaService" = ["kinesis.${local.via}", "s3.${local.via}"] } }
      },
      {
        Sid      = "Log"
        Effect   = "Allow"
        Action   = ["logs:PutLogEvents"]
        Resource = ["${aws_cloudwatch_log_group.firehose[0].arn}:log-stream:${local.log_stream}"]
      },
      ], [for transform in module.transform : {
        Sid      = "Transform"
        Effect   = "Allow"
        Action   = ["lambda:GetFunctionConfiguration", "lambda:InvokeFunction"]
        Resource = [transform.arn, "${transform.arn}:$LATEST"]
    }])
  })
}
