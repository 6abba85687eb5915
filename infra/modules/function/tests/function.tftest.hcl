mock_provider "aws" {
  source = "../../mocks"
}

variables {
  lake = {
    name            = "shop"
    uri             = "s3://shop-lake/lake"
    bucket          = "shop-lake"
    bucket_arn      = "arn:aws:s3:::shop-lake"
    prefix          = "lake"
    kms_key_arn     = "arn:aws:kms:eu-central-1:111122223333:key/11111111-2222-3333-4444-555555555555"
    database        = "shop"
    workgroup       = "shop"
    alarm_topic_arn = "arn:aws:sns:eu-central-1:111122223333:shop-alarms"
    role_names      = {}
    role_arns       = {}
  }
  name        = "orders"
  role        = "consumer"
  handler     = "ingest.handlers.stream_handler"
  package     = "tests/packages/capture-python3.13-x86_64.zip"
  stream_name = "shop-orders"
}

run "runs_the_package_on_what_it_was_built_for" {
  assert {
    condition     = aws_lambda_function.this.function_name == "shop-orders-consumer"
    error_message = "Named lake, table, role."
  }
  assert {
    condition     = aws_lambda_function.this.handler == "ingest.handlers.stream_handler"
    error_message = "The handler is the one that was asked for."
  }
  assert {
    condition     = aws_lambda_function.this.runtime == "python3.13" && one(aws_lambda_function.this.architectures) == "x86_64"
    error_message = "Runtime and architecture are those in the package's name."
  }
  assert {
    condition     = aws_lambda_function.this.source_code_hash == filebase64sha256("tests/packages/capture-python3.13-x86_64.zip")
    error_message = "A package that was built anew is deployed."
  }
  assert {
    condition     = one(aws_lambda_function.this.environment).variables == tomap({ DYNALAKE_LAKE = "s3://shop-lake/lake" })
    error_message = "The function knows its lake by DYNALAKE_LAKE, and no secret is in its environment."
  }
  assert {
    condition     = aws_lambda_function.this.timeout == 300 && aws_lambda_function.this.memory_size == 1024
    error_message = "Time and memory for a full batch and a slow S3."
  }
  assert {
    condition     = aws_lambda_function.this.reserved_concurrent_executions == -1
    error_message = "Without a share of its own it is not throttled below the account's limit."
  }

  # Its logs are its own, and encrypted.
  assert {
    condition     = aws_cloudwatch_log_group.this.name == "/aws/lambda/${aws_lambda_function.this.function_name}"
    error_message = "The group is the one that Lambda writes to."
  }
  assert {
    condition     = aws_cloudwatch_log_group.this.kms_key_id == var.lake.kms_key_arn && aws_cloudwatch_log_group.this.retention_in_days == 365
    error_message = "Logs are encrypted with the lake's key and kept for a year."
  }

  # It may land, and nothing more.
  assert {
    condition = {
      for statement in jsondecode(aws_iam_role_policy.this.policy).Statement : statement.Sid => [statement.Effect, statement.Action, statement.Resource, try(statement.Condition, null)]
      } == {
      Settings = ["Allow", ["s3:GetObject"], ["arn:aws:s3:::shop-lake/lake/lake.toml", "arn:aws:s3:::shop-lake/lake/masks.check"], null]
      Absence  = ["Allow", ["s3:ListBucket"], ["arn:aws:s3:::shop-lake"], { StringEquals = { "s3:prefix" = ["lake/lake.toml", "lake/masks.check"] } }]
      Land     = ["Allow", ["s3:GetObject", "s3:PutObject"], ["arn:aws:s3:::shop-lake/lake/raw/stream=shop-orders/*", "arn:aws:s3:::shop-lake/lake/dead_letters/*"], null]
      Key      = ["Allow", ["kms:Decrypt", "kms:GenerateDataKey"], [var.lake.kms_key_arn], { StringEquals = { "kms:ViaService" = "s3.eu-central-1.amazonaws.com" } }]
      Log      = ["Allow", ["logs:CreateLogStream", "logs:PutLogEvents"], ["arn:aws:logs:eu-central-1:111122223333:log-group:mock:*"], null]
    }
    error_message = "It reads the settings, lands under its own stream and sets aside, by way of S3 with the lake's key."
  }
  assert {
    condition = jsondecode(aws_iam_role.this.assume_role_policy).Statement == [{
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { Service = "lambda.amazonaws.com" }
      Condition = { StringEquals = { "aws:SourceAccount" = "111122223333" } }
    }]
    error_message = "Lambda takes the role, for this account alone."
  }
}

run "opens_the_secret_of_masks_and_no_other" {
  variables {
    secret_arn       = "arn:aws:secretsmanager:eu-central-1:111122223333:secret:masks-AbCdEf"
    poison_queue_arn = "arn:aws:sqs:eu-central-1:111122223333:poison"
  }
  assert {
    condition = {
      for statement in jsondecode(aws_iam_role_policy.this.policy).Statement : statement.Sid => [statement.Action, statement.Resource, try(statement.Condition, null)]
      if contains(["Secret", "SecretKey", "Check", "Poison", "PoisonKey"], statement.Sid)
      } == {
      Secret    = [["secretsmanager:GetSecretValue"], ["arn:aws:secretsmanager:eu-central-1:111122223333:secret:masks-AbCdEf"], null]
      SecretKey = [["kms:Decrypt"], [var.lake.kms_key_arn], { StringEquals = { "kms:ViaService" = "secretsmanager.eu-central-1.amazonaws.com" } }]
      Check     = [["s3:PutObject"], ["arn:aws:s3:::shop-lake/lake/masks.check"], null]
      Poison    = [["sqs:SendMessage"], ["arn:aws:sqs:eu-central-1:111122223333:poison"], null]
      PoisonKey = [["kms:Decrypt", "kms:GenerateDataKey"], [var.lake.kms_key_arn], { StringEquals = { "kms:ViaService" = "sqs.eu-central-1.amazonaws.com" } }]
    }
    error_message = "That secret and that queue alone."
  }
}

run "runs_on_arm" {
  variables {
    package = "tests/packages/capture-python3.12-arm64.zip"
  }
  assert {
    condition     = aws_lambda_function.this.runtime == "python3.12" && one(aws_lambda_function.this.architectures) == "arm64"
    error_message = "Runtime and architecture are those in the package's name."
  }
}

run "refuses_what_cannot_run" {
  command = plan
  variables {
    role                 = "a-function-whose-name-is-longer-than-that-of-a-role-may-be"
    handler              = "ingest.handlers.handler"
    package              = "tests/packages/capture.zip"
    reserved_concurrency = 0
    timeout_seconds      = 60
    memory_mb            = 128
  }
  expect_failures = [var.role, var.handler, var.package, var.reserved_concurrency, var.timeout_seconds, var.memory_mb]
}

run "refuses_dots" {
  command = plan
  variables {
    name = "shop.orders"
  }
  expect_failures = [var.name]
}
