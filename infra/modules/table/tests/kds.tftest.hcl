# Nothing of these is applied: a stream, which may not be destroyed, could not be cleaned up.
mock_provider "aws" {
  source          = "../../mocks"
  override_during = plan
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
  table_name = "shop.orders"
  table_arn  = "arn:aws:dynamodb:eu-central-1:111122223333:table/shop.orders"
  surface    = "kds"
  package    = "../function/tests/packages/capture-python3.13-x86_64.zip"
}

run "captures_by_kinesis_on_two_ways" {
  command = plan

  assert {
    condition     = output.stream_name == "shop-shop-orders" && output.firehose_name == "shop-shop-orders-raw" && output.function_names == { consumer = "shop-shop-orders-consumer" }
    error_message = "Firehose and the consumer both, named by the table's name without dots."
  }
  assert {
    condition     = module.consumer[0].on_failure == "queue" && module.consumer[0].record_age_seconds == 86400
    error_message = "What is given up after a day is told to the queue: the stream keeps it for a week."
  }
  assert {
    condition     = module.consumer[0].raw_prefix == "lake/raw/stream=shop-shop-orders/"
    error_message = "The function may write where records of this stream land: under its name."
  }
  assert {
    condition     = module.stream[0].retention_hours == 168
    error_message = "A week."
  }
  assert {
    condition     = output.dead_letter_queue_names == ["shop-shop-orders-failures"] && output.pipe_name == null && length(output.sinks) == 0
    error_message = "One queue of failures, and no fan-out."
  }
  assert {
    condition     = output.add_table == "dynalake --lake s3://shop-lake/lake add-table shop.orders --from-dynamodb --surface kds"
    error_message = "The table is added as what it is captured as."
  }
  assert {
    condition = output.redrive == [
      "dynalake --lake s3://shop-lake/lake redrive --queue https://sqs.eu-central-1.amazonaws.com/111122223333/mock",
      "dynalake --lake s3://shop-lake/lake redrive --from s3://shop-lake/firehose-errors/shop.orders/",
      "dynalake --lake s3://shop-lake/lake redrive --from s3://shop-lake/aws/lambda/11111111-2222-3333-4444-555555555555/",
    ]
    error_message = "Every place of failures is named."
  }

  # Jobs may read the table.
  assert {
    condition = [aws_iam_role_policy.backfill.role, [for statement in jsondecode(aws_iam_role_policy.backfill.policy).Statement : [statement.Action, statement.Resource]]] == [
      "shop-backfill", [[["dynamodb:BatchGetItem", "dynamodb:DescribeKinesisStreamingDestination", "dynamodb:DescribeTable", "dynamodb:DescribeTimeToLive", "dynamodb:Scan"], [var.table_arn]]]
    ]
    error_message = "backfill reads this table, and whether its changes are streamed."
  }
  assert {
    condition = [aws_iam_role_policy.verify.role, [for statement in jsondecode(aws_iam_role_policy.verify.policy).Statement : [statement.Action, statement.Resource]]] == [
      "shop-verify", [[["dynamodb:BatchGetItem", "dynamodb:DescribeTable", "dynamodb:Scan"], [var.table_arn]]]
    ]
    error_message = "verify reads this table."
  }
  assert {
    condition     = length(aws_iam_role_policy.redrive) == 0
    error_message = "What redrive may do with Kinesis and queues is said once for all tables, in modules/lake: there is no room for more than that."
  }
  assert {
    condition     = length(aws_iam_role_policy.backfill.policy) <= 310 && length(aws_iam_role_policy.verify.policy) <= 230
    error_message = "A role's policies have 10,240 characters together: this says how many tables a lake may have."
  }

  # What is there is watched.
  assert {
    condition = length(setsubtract([
      "iterator-age", "unreplicated-age", "failed-to-replicate", "firehose-freshness", "firehose-failed", "consumer-age",
      "given-up", "dropped", "dead-letters", "queue-shop-shop-orders-failures",
    ], keys(output.alarm_names))) == 0 && output.dashboard_name != ""
    error_message = "Stream, Firehose, consumer and queue are watched, on a dashboard too."
  }
  assert {
    condition     = length(regexall("\n  record_age_seconds += one\\(module.consumer\\[\\*\\].record_age_seconds\\)\n", file("alarms.tf"))) == 1 && module.consumer[0].record_age_seconds == 86400
    error_message = "The alarms know when records are given up: they refuse to come later than half of that."
  }
}

run "masks_on_both_ways_and_keeps_for_as_long_as_told" {
  command = plan

  variables {
    secret_arn         = "arn:aws:secretsmanager:eu-central-1:111122223333:secret:masks-AbCdEf"
    transform          = true
    retention_hours    = 336
    record_age_seconds = 172800
  }
  assert {
    condition     = output.function_names == { consumer = "shop-shop-orders-consumer", transform = "shop-shop-orders-transform" }
    error_message = "Both functions are there, and watched."
  }
  assert {
    condition     = module.consumer[0].secret_arn == var.secret_arn && module.stream[0].transform_secret_arn == var.secret_arn
    error_message = "Both may open the secret: without it neither lands anything."
  }
  assert {
    condition     = module.stream[0].retention_hours == 336 && module.consumer[0].record_age_seconds == 172800
    error_message = "The stream keeps records, and the consumer tries them, as long as it was told."
  }
}

run "captures_by_firehose_alone" {
  command = plan

  variables {
    paths   = ["firehose"]
    package = null
  }
  assert {
    condition     = output.firehose_name == "shop-shop-orders-raw" && output.mapping_uuid == null && length(output.dead_letter_queue_names) == 0 && length(output.redrive) == 1
    error_message = "No function, and no queue of one."
  }
}

run "captures_by_the_consumer_alone" {
  command = plan

  variables {
    paths = ["consumer"]
  }
  assert {
    condition     = output.firehose_name == null && output.mapping_uuid != null && length(output.redrive) == 2
    error_message = "No Firehose."
  }
}

run "refuses_a_consumer_without_its_package" {
  command = plan
  variables {
    package = null
  }
  expect_failures = [var.package]
}

run "refuses_another_surface_s_stream_and_sinks" {
  command = plan
  variables {
    table_stream_arn = "arn:aws:dynamodb:eu-central-1:111122223333:table/shop.orders/stream/2026-01-01T00:00:00.000"
    sinks            = { failures = {} }
    paths            = ["pipe"]
  }
  expect_failures = [var.table_stream_arn, var.sinks, var.paths]
}
