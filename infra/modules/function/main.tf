# A Lambda function of the capture package: the consumer, or the transformation for Firehose.

data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}
data "aws_region" "current" {}

locals {
  name     = "${var.lake.name}-${var.name}-${var.role}"
  packaged = regex("capture-(?P<runtime>python3\\.[0-9]+)-(?P<architecture>x86_64|arm64)\\.zip$", var.package)
  place    = "${var.lake.bucket_arn}/${var.lake.prefix}"
  via      = "${data.aws_region.current.name}.${data.aws_partition.current.dns_suffix}"
}

resource "aws_cloudwatch_log_group" "this" {
  name              = "/aws/lambda/${local.name}"
  retention_in_days = var.log_retention_days
  kms_key_id        = var.lake.kms_key_arn
}

resource "aws_lambda_function" "this" {
  #checkov:skip=CKV_AWS_50:No tracing: a batch makes two or three requests, its metrics tell their outcome, and X-Ray has no resource-level rights
  #checkov:skip=CKV_AWS_115:Concurrency is bounded by the shards of the stream; reserved_concurrency takes its share of the account's where that is wanted
  #checkov:skip=CKV_AWS_116:A queue of the function is for asynchronous calls. These are synchronous: the mapping has its on-failure destination, Firehose its error prefix
  #checkov:skip=CKV_AWS_117:It reaches S3 and KMS only, by rights of its own. In a VPC it would need endpoints, which are one more thing to fail
  #checkov:skip=CKV_AWS_173:The one variable names the lake's place; there is no secret in it
  #checkov:skip=CKV_AWS_272:The package is built from this repository and its hash is in the plan; who may change the function may change a signing profile too
  function_name                  = local.name
  role                           = aws_iam_role.this.arn
  runtime                        = local.packaged.runtime
  architectures                  = [local.packaged.architecture]
  handler                        = var.handler
  filename                       = var.package
  source_code_hash               = filebase64sha256(var.package)
  memory_size                    = var.memory_mb
  timeout                        = var.timeout_seconds
  reserved_concurrent_executions = coalesce(var.reserved_concurrency, -1)

  environment {
    variables = { DYNALAKE_LAKE = var.lake.uri }
  }

  # Its rights come first, and so does its log group: one that Lambda makes would keep logs for ever, without our key.
  depends_on = [aws_cloudwatch_log_group.this, aws_iam_role_policy.this]
}

# No aws:SourceArn: Lambda takes the role for the function and for its event source mapping, which has another ARN.
resource "aws_iam_role" "this" {
  name = local.name
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { Service = "lambda.amazonaws.com" }
      Condition = { StringEquals = { "aws:SourceAccount" = data.aws_caller_identity.current.account_id } }
    }]
  })
}

resource "aws_iam_role_policy" "this" {
  name = "land"
  role = aws_iam_role.this.name
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat([
      {
        Sid      = "Settings"
        Effect   = "Allow"
        Action   = ["s3:GetObject"]
        Resource = ["${local.place}/lake.toml", "${local.place}/masks.check"]
      },
      {
        # With it S3 says of what is not there that it is not there, and not that it is forbidden.
        Sid       = "Absence"
        Effect    = "Allow"
        Action    = ["s3:ListBucket"]
        Resource  = [var.lake.bucket_arn]
        Condition = { StringEquals = { "s3:prefix" = ["${var.lake.prefix}/lake.toml", "${var.lake.prefix}/masks.check"] } }
      },
      {
        # Reading: a write that is told that its object is there looks whether it is this very one.
        Sid      = "Land"
        Effect   = "Allow"
        Action   = ["s3:GetObject", "s3:PutObject"]
        Resource = ["${local.place}/raw/stream=${var.stream_name}/*", "${local.place}/dead_letters/*"]
      },
      {
        Sid       = "Key"
        Effect    = "Allow"
        Action    = ["kms:Decrypt", "kms:GenerateDataKey"]
        Resource  = [var.lake.kms_key_arn]
        Condition = { StringEquals = { "kms:ViaService" = "s3.${local.via}" } }
      },
      {
        Sid      = "Log"
        Effect   = "Allow"
        Action   = ["logs:CreateLogStream", "logs:PutLogEvents"]
        Resource = ["${aws_cloudwatch_log_group.this.arn}:*"]
      },
      ], [for statement in [
        {
          Sid      = "Secret"
          Effect   = "Allow"
          Action   = ["secretsmanager:GetSecretValue"]
          Resource = [var.secret_arn]
        },
        {
          Sid       = "SecretKey"
          Effect    = "Allow"
          Action    = ["kms:Decrypt"]
          Resource  = [coalesce(var.secret_kms_key_arn, var.lake.kms_key_arn)]
          Condition = { StringEquals = { "kms:ViaService" = "secretsmanager.${local.via}" } }
        },
        {
          # Whoever opens the secret first notes its check.
          Sid      = "Check"
          Effect   = "Allow"
          Action   = ["s3:PutObject"]
          Resource = ["${local.place}/masks.check"]
        },
        ] : statement if var.secret_arn != null], [for statement in [
        {
          Sid      = "Poison"
          Effect   = "Allow"
          Action   = ["sqs:SendMessage"]
          Resource = [var.poison_queue_arn]
        },
        {
          Sid       = "PoisonKey"
          Effect    = "Allow"
          Action    = ["kms:Decrypt", "kms:GenerateDataKey"]
          Resource  = [var.lake.kms_key_arn]
          Condition = { StringEquals = { "kms:ViaService" = "sqs.${local.via}" } }
        },
    ] : statement if var.poison_queue_arn != null])
  })
}
