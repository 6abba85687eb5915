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
  table_name        = "orders"
  table_arn         = "arn:aws:dynamodb:eu-central-1:111122223333:table/orders"
  table_stream_arn  = "arn:aws:dynamodb:eu-central-1:111122223333:table/orders/stream/2026-01-01T00:00:00.000"
  table_kms_key_arn = "arn:aws:kms:eu-central-1:111122223333:key/22222222-2222-3333-4444-555555555555"
  surface           = "streams"
  package           = "../function/tests/packages/capture-python3.13-x86_64.zip"
}

run "captures_the_table_s_own_stream" {
  assert {
    condition     = output.stream_name == null && output.firehose_name == null && output.stream_arn == var.table_stream_arn && output.function_names == { consumer = "shop-orders-consumer" }
    error_message = "The consumer reads the table's stream; there is nothing of Kinesis."
  }
  assert {
    condition     = module.consumer[0].on_failure == "bucket" && module.consumer[0].record_age_seconds == 43200
    error_message = "What is given up after 12 hours is kept whole: the stream has it for 24."
  }
  assert {
    condition     = module.consumer[0].raw_prefix == "lake/raw/stream=orders/"
    error_message = "Records of a table's own stream land under the table's name."
  }
  assert {
    condition     = output.add_table == "dynalake --lake s3://shop-lake/lake add-table orders --from-dynamodb --surface streams"
    error_message = "The table is added as what it is captured as."
  }

  # redrive may read the stream, all may decrypt.
  assert {
    condition = aws_iam_role_policy.redrive[0].role == "shop-redrive" && {
      for statement in jsondecode(aws_iam_role_policy.redrive[0].policy).Statement : statement.Sid => [statement.Action, statement.Resource, try(statement.Condition, null)]
      } == {
      Stream   = [["dynamodb:GetRecords", "dynamodb:GetShardIterator"], [var.table_stream_arn], null]
      TableKey = [["kms:Decrypt"], [var.table_kms_key_arn], { StringEquals = { "kms:ViaService" = "dynamodb.eu-central-1.amazonaws.com" } }]
    }
    error_message = "Who redrives reads this stream by the table's key, and nothing else's."
  }
  assert {
    condition     = length([for policy in [aws_iam_role_policy.backfill.policy, aws_iam_role_policy.verify.policy] : policy if contains(jsondecode(policy).Statement[*].Sid, "TableKey")]) == 2
    error_message = "backfill and verify decrypt the table."
  }
  assert {
    condition     = module.consumer[0].stream_kms_key_arn == var.table_kms_key_arn
    error_message = "The consumer decrypts the stream: else it reads nothing, and the stream keeps 24 hours."
  }
}

run "fans_out_beside_the_lake" {
  variables {
    surface = "pipe"
    sinks   = { search = {}, audit = { pattern = "{\"eventName\":[\"REMOVE\"]}" } }
  }
  assert {
    condition     = output.pipe_name == "shop-orders" && keys(output.sinks) == ["audit", "search"] && output.function_names == { consumer = "shop-orders-consumer" }
    error_message = "The pipe for the sinks, and the consumer for the lake."
  }
  assert {
    condition     = module.fanout[0].table_kms_key_arn == var.table_kms_key_arn
    error_message = "The pipe decrypts the stream."
  }
  assert {
    condition     = contains(output.dead_letter_queue_names, "shop-orders-failures") && length(output.dead_letter_queue_names) == 5
    error_message = "The consumer's queue of failures, the pipe's, the bus' and each sink's are all watched."
  }
  assert {
    condition = length(setsubtract(
      ["pipe-failed", "consumer-age", "queue-shop-orders-failures", "queue-shop-orders-pipe", "queue-shop-orders-search-dead", "sink-shop-orders-search"],
      keys(output.alarm_names),
    )) == 0
    error_message = "The pipe and every queue have alarms."
  }
}

run "refuses_a_surface_without_its_stream" {
  command = plan
  variables {
    table_stream_arn = null
  }
  expect_failures = [var.table_stream_arn]
}

run "refuses_a_sink_in_the_place_of_failures" {
  command = plan
  variables {
    surface = "pipe"
    sinks   = { failures = {} }
  }
  expect_failures = [var.sinks]
}
