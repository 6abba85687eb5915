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
    role_names      = { compaction = "shop-compaction", verify = "shop-verify", backfill = "shop-backfill", redrive = "shop-redrive" }
    role_arns = {
      compaction = "arn:aws:iam::111122223333:role/shop-compaction"
      verify     = "arn:aws:iam::111122223333:role/shop-verify"
      backfill   = "arn:aws:iam::111122223333:role/shop-backfill"
      redrive    = "arn:aws:iam::111122223333:role/shop-redrive"
    }
  }
  name            = "orders"
  kind            = "kinesis"
  stream_arn      = "arn:aws:kinesis:eu-central-1:111122223333:stream/shop-orders"
  stream_name     = "shop-orders"
  package         = "../function/tests/packages/capture-python3.13-x86_64.zip"
  retention_hours = 168
  on_failure      = "queue"
}

run "reads_all_of_the_stream_and_drops_nothing_silently" {
  assert {
    condition     = aws_lambda_event_source_mapping.this.event_source_arn == var.stream_arn && aws_lambda_event_source_mapping.this.starting_position == "TRIM_HORIZON"
    error_message = "It begins at the oldest record: LATEST misses what came before, and while the mapping changes."
  }
  assert {
    condition     = aws_lambda_event_source_mapping.this.function_response_types == toset(["ReportBatchItemFailures"])
    error_message = "The function answers which records are to come again: without this, an answer means that all have landed."
  }
  assert {
    condition     = aws_lambda_event_source_mapping.this.maximum_record_age_in_seconds == 86400
    error_message = "A record is given up after a day, while the stream keeps it for a week."
  }
  assert {
    condition     = aws_lambda_event_source_mapping.this.maximum_retry_attempts == 100 && aws_lambda_event_source_mapping.this.bisect_batch_on_function_error
    error_message = "A batch is tried often, not for ever, and split down to what is to blame."
  }
  assert {
    condition     = one(one(aws_lambda_event_source_mapping.this.destination_config).on_failure).destination_arn == aws_sqs_queue.failures.arn
    error_message = "What is given up is told to the queue."
  }
  assert {
    condition     = one(aws_lambda_event_source_mapping.this.metrics_config).metrics == toset(["EventCount"])
    error_message = "Dropped events are counted."
  }
  assert {
    condition     = length(aws_lambda_event_source_mapping.this.filter_criteria) == 0
    error_message = "Nothing is filtered out."
  }
  assert {
    condition     = aws_lambda_event_source_mapping.this.batch_size == 5000 && aws_lambda_event_source_mapping.this.maximum_batching_window_in_seconds == 30 && aws_lambda_event_source_mapping.this.parallelization_factor == 1
    error_message = "Large batches, half a minute behind."
  }
  assert {
    condition     = output.function_name == "shop-orders-consumer" && module.function.handler == "ingest.handlers.stream_handler" && aws_lambda_event_source_mapping.this.function_name == "arn:aws:lambda:eu-central-1:111122223333:function:mock"
    error_message = "The consumer is what is called."
  }

  # What was given up is kept for who redrives.
  assert {
    condition     = aws_sqs_queue.failures.name == "shop-orders-failures" && aws_sqs_queue.failures.message_retention_seconds == 1209600 && aws_sqs_queue.failures.visibility_timeout_seconds == 3600
    error_message = "Two weeks, and an hour for a redrive."
  }
  assert {
    condition     = aws_sqs_queue.failures.kms_master_key_id == var.lake.kms_key_arn
    error_message = "Encrypted with the lake's key."
  }
  assert {
    condition = {
      for statement in jsondecode(aws_sqs_queue_policy.failures.policy).Statement : statement.Sid => [statement.Effect, statement.Principal, statement.Action, statement.Resource, statement.Condition]
      } == {
      RedriveAlone = ["Deny", "*", ["sqs:ChangeMessageVisibility", "sqs:DeleteMessage", "sqs:PurgeQueue", "sqs:ReceiveMessage"], aws_sqs_queue.failures.arn, { ArnNotEquals = { "aws:PrincipalArn" = "arn:aws:iam::111122223333:role/shop-redrive" } }]
      TLS          = ["Deny", "*", ["sqs:ChangeMessageVisibility", "sqs:DeleteMessage", "sqs:ReceiveMessage", "sqs:SendMessage"], aws_sqs_queue.failures.arn, { Bool = { "aws:SecureTransport" = "false" } }]
    }
    error_message = "The redrive role alone reads the queue."
  }

  # It may read one stream.
  assert {
    condition = {
      for statement in jsondecode(aws_iam_role_policy.source.policy).Statement : statement.Sid => [statement.Effect, statement.Action, statement.Resource, try(statement.Condition, null)]
      } == {
      Read      = ["Allow", ["kinesis:DescribeStream", "kinesis:DescribeStreamSummary", "kinesis:GetRecords", "kinesis:GetShardIterator", "kinesis:ListShards"], [var.stream_arn], null]
      StreamKey = ["Allow", ["kms:Decrypt"], [var.lake.kms_key_arn], { StringEquals = { "kms:ViaService" = "kinesis.eu-central-1.amazonaws.com" } }]
      GiveUp    = ["Allow", ["sqs:SendMessage"], [aws_sqs_queue.failures.arn], null]
      GiveUpKey = ["Allow", ["kms:Decrypt", "kms:GenerateDataKey"], [var.lake.kms_key_arn], { StringEquals = { "kms:ViaService" = "sqs.eu-central-1.amazonaws.com" } }]
    }
    error_message = "It reads this stream and sends to its own queue, and nothing more."
  }
}

run "reads_a_dynamodb_stream_and_keeps_payloads" {
  variables {
    kind            = "dynamodb"
    stream_arn      = "arn:aws:dynamodb:eu-central-1:111122223333:table/orders/stream/2026-01-01T00:00:00.000"
    stream_name     = "orders"
    retention_hours = 24
    on_failure      = "bucket"
  }
  assert {
    condition     = aws_lambda_event_source_mapping.this.maximum_record_age_in_seconds == 43200 && aws_lambda_event_source_mapping.this.starting_position == "TRIM_HORIZON"
    error_message = "A record is given up after 12 of 24 hours."
  }
  assert {
    condition     = one(one(aws_lambda_event_source_mapping.this.destination_config).on_failure).destination_arn == "arn:aws:s3:::shop-lake"
    error_message = "What is given up is kept whole."
  }
  assert {
    condition = {
      for statement in jsondecode(aws_iam_role_policy.source.policy).Statement : statement.Sid => [statement.Effect, statement.Action, statement.Resource, try(statement.Condition, null)]
      } == {
      Read         = ["Allow", ["dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator"], [var.stream_arn], null]
      List         = ["Allow", ["dynamodb:ListStreams"], ["arn:aws:dynamodb:eu-central-1:111122223333:table/orders/stream/*"], null]
      GiveUp       = ["Allow", ["s3:PutObject"], ["arn:aws:s3:::shop-lake/aws/lambda/*"], null]
      GiveUpBucket = ["Allow", ["s3:ListBucket"], ["arn:aws:s3:::shop-lake"], null]
    }
    error_message = "It reads this stream and gives up into Lambda's own folder."
  }
  assert {
    condition     = output.failures_prefix == "aws/lambda/11111111-2222-3333-4444-555555555555/"
    error_message = "Where to redrive from."
  }
}

run "reads_an_encrypted_dynamodb_stream" {
  variables {
    kind               = "dynamodb"
    stream_arn         = "arn:aws:dynamodb:eu-central-1:111122223333:table/orders/stream/2026-01-01T00:00:00.000"
    stream_name        = "orders"
    stream_kms_key_arn = "arn:aws:kms:eu-central-1:111122223333:key/table"
    retention_hours    = 24
    on_failure         = "bucket"
  }
  assert {
    condition = [
      for statement in jsondecode(aws_iam_role_policy.source.policy).Statement : [statement.Action, statement.Resource, statement.Condition] if statement.Sid == "StreamKey"
    ] == [[["kms:Decrypt"], ["arn:aws:kms:eu-central-1:111122223333:key/table"], { StringEquals = { "kms:ViaService" = "dynamodb.eu-central-1.amazonaws.com" } }]]
    error_message = "The table's key, by way of DynamoDB."
  }
}

run "opens_the_secret_of_masks" {
  command = plan
  variables {
    secret_arn = "arn:aws:secretsmanager:eu-central-1:111122223333:secret:masks-AbCdEf"
  }
  assert {
    condition     = output.secret_arn == var.secret_arn
    error_message = "In a lake with masks a function that may not open the secret lands nothing."
  }
}

run "refuses_to_name_records_that_are_gone_by_monday" {
  command = plan
  variables {
    record_age_seconds = 432000
  }
  expect_failures = [aws_lambda_event_source_mapping.this]
}

run "refuses_an_age_that_the_stream_does_not_outlast" {
  command = plan
  variables {
    on_failure         = "bucket"
    retention_hours    = 72
    record_age_seconds = 252000
  }
  expect_failures = [aws_lambda_event_source_mapping.this]
}

run "refuses_what_gives_up_too_soon_or_never" {
  command = plan
  variables {
    attempts           = -1
    record_age_seconds = 60
    visibility_seconds = 30
    batch_seconds      = 0
    batch_size         = 1
    parallel           = 0
  }
  expect_failures = [var.attempts, var.record_age_seconds, var.visibility_seconds, var.batch_seconds, var.batch_size, var.parallel]
}

run "refuses_longer_retention_than_dynamodb_has" {
  command = plan
  variables {
    kind       = "dynamodb"
    on_failure = "bucket"
  }
  expect_failures = [var.retention_hours]
}
