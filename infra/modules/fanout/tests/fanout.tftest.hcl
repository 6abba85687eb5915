mock_provider "aws" {
  source = "../../mocks"

  # ARNs that can be told apart, so that a policy for one queue is not taken for another's.
  override_resource {
    target = aws_sqs_queue.pipe
    values = { arn = "arn:aws:sqs:eu-central-1:111122223333:shop-orders-pipe", id = "https://sqs/pipe", url = "https://sqs/pipe" }
  }
  override_resource {
    target = aws_sqs_queue.undelivered
    values = { arn = "arn:aws:sqs:eu-central-1:111122223333:shop-orders-undelivered", id = "https://sqs/undelivered", url = "https://sqs/undelivered" }
  }
  override_resource {
    target = aws_sqs_queue.sink
    values = { arn = "arn:aws:sqs:eu-central-1:111122223333:shop-orders-search", id = "https://sqs/search", url = "https://sqs/search" }
  }
  override_resource {
    target = aws_sqs_queue.dead
    values = { arn = "arn:aws:sqs:eu-central-1:111122223333:shop-orders-search-dead", id = "https://sqs/search-dead", url = "https://sqs/search-dead" }
  }
  override_resource {
    target = aws_cloudwatch_event_bus.this
    values = { arn = "arn:aws:events:eu-central-1:111122223333:event-bus/shop-orders" }
  }
  override_resource {
    target = aws_cloudwatch_event_rule.sink
    values = { arn = "arn:aws:events:eu-central-1:111122223333:rule/shop-orders/search" }
  }
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
    role_names      = { redrive = "shop-redrive" }
    role_arns       = { redrive = "arn:aws:iam::111122223333:role/shop-redrive" }
  }
  name             = "orders"
  table_stream_arn = "arn:aws:dynamodb:eu-central-1:111122223333:table/orders/stream/2026-01-01T00:00:00.000"
  sinks            = { search = {} }
}

run "pipe" {
  assert {
    condition = (
      aws_pipes_pipe.this.source == var.table_stream_arn &&
      aws_pipes_pipe.this.target == aws_cloudwatch_event_bus.this.arn &&
      aws_pipes_pipe.this.desired_state == "RUNNING"
    )
    error_message = "The pipe must run from the table's stream to the bus."
  }

  assert {
    condition     = one(one(aws_pipes_pipe.this.source_parameters).dynamodb_stream_parameters).starting_position == "TRIM_HORIZON"
    error_message = "The pipe must begin at TRIM_HORIZON: LATEST misses what comes while it is made."
  }

  assert {
    condition = (
      one(one(aws_pipes_pipe.this.source_parameters).dynamodb_stream_parameters).maximum_record_age_in_seconds == 43200 &&
      one(one(aws_pipes_pipe.this.source_parameters).dynamodb_stream_parameters).maximum_retry_attempts == 20
    )
    error_message = "Records must be given up while the stream still has them, and after finite retries."
  }

  assert {
    condition     = one(one(aws_pipes_pipe.this.source_parameters).dynamodb_stream_parameters).on_partial_batch_item_failure == "AUTOMATIC_BISECT"
    error_message = "A batch that fails must be halved, so that only the bad event is given up."
  }

  assert {
    condition     = one(one(aws_pipes_pipe.this.source_parameters).dynamodb_stream_parameters).dead_letter_config[*].arn == tolist([aws_sqs_queue.pipe.arn])
    error_message = "What is given up must be told to the pipe's dead-letter queue."
  }

  assert {
    condition     = one(one(aws_pipes_pipe.this.source_parameters).dynamodb_stream_parameters).batch_size == 10
    error_message = "The bus takes ten events at a time; AWS makes no pipe with more."
  }

  assert {
    condition     = length(one(aws_pipes_pipe.this.source_parameters).filter_criteria) == 0 && one(aws_pipes_pipe.this.target_parameters).input_template == null
    error_message = "Unless told otherwise all records pass, whole."
  }

  assert {
    condition     = one(aws_pipes_pipe.this.log_configuration).level == "ERROR" && length(coalesce(one(aws_pipes_pipe.this.log_configuration).include_execution_data, [])) == 0
    error_message = "The pipe's log must hold errors, and no items."
  }

  assert {
    condition     = aws_cloudwatch_log_group.pipe.kms_key_id == var.lake.kms_key_arn && one(one(aws_pipes_pipe.this.log_configuration).cloudwatch_logs_log_destination).log_group_arn == aws_cloudwatch_log_group.pipe.arn
    error_message = "The pipe's log must be encrypted with the lake's key."
  }

  assert {
    condition     = aws_cloudwatch_event_bus.this.kms_key_identifier == var.lake.kms_key_arn && aws_cloudwatch_event_bus.this.dead_letter_config[*].arn == tolist([aws_sqs_queue.undelivered.arn])
    error_message = "The bus must be encrypted with the lake's key, and keep what it cannot encrypt."
  }

  assert {
    condition     = output.pipe_name == "shop-orders" && aws_cloudwatch_event_bus.this.name == output.pipe_name
    error_message = "Pipe and bus must bear one name: alarms go by it."
  }
}

run "sinks" {
  assert {
    condition     = jsondecode(aws_cloudwatch_event_rule.sink["search"].event_pattern) == { source = ["dynalake"] } && aws_cloudwatch_event_rule.sink["search"].state == "ENABLED"
    error_message = "A sink without a pattern takes every change."
  }

  assert {
    condition     = one(one(aws_pipes_pipe.this.target_parameters).eventbridge_event_bus_parameters).source == one(jsondecode(aws_cloudwatch_event_rule.sink["search"].event_pattern).source)
    error_message = "Rules must look for the source that the pipe names, or every event is taken by nobody."
  }

  assert {
    condition = (
      aws_cloudwatch_event_rule.sink["search"].event_bus_name == "shop-orders" &&
      aws_cloudwatch_event_target.sink["search"].event_bus_name == "shop-orders" &&
      aws_cloudwatch_event_target.sink["search"].rule == "search" &&
      aws_cloudwatch_event_target.sink["search"].arn == aws_sqs_queue.sink["search"].arn
    )
    error_message = "A sink's rule, on the table's bus, must send to its queue."
  }

  assert {
    condition     = aws_cloudwatch_event_target.sink["search"].dead_letter_config[*].arn == tolist([aws_sqs_queue.undelivered.arn])
    error_message = "What EventBridge cannot deliver must be kept."
  }

  assert {
    condition     = one(aws_cloudwatch_event_target.sink["search"].retry_policy).maximum_event_age_in_seconds == 86400 && one(aws_cloudwatch_event_target.sink["search"].retry_policy).maximum_retry_attempts == 185
    error_message = "EventBridge must try as long as it can."
  }

  assert {
    condition = alltrue([
      for queue in concat(values(aws_sqs_queue.sink), values(aws_sqs_queue.dead), [aws_sqs_queue.pipe, aws_sqs_queue.undelivered]) :
      queue.kms_master_key_id == var.lake.kms_key_arn && queue.message_retention_seconds == 1209600
    ])
    error_message = "Every queue must be encrypted with the lake's key and keep messages for 14 days."
  }

  assert {
    condition     = try(jsondecode(aws_sqs_queue.sink["search"].redrive_policy), null) == { deadLetterTargetArn = aws_sqs_queue.dead["search"].arn, maxReceiveCount = 5 }
    error_message = "What a sink cannot take in must go to its dead letters, after five attempts."
  }

  assert {
    condition     = jsondecode(aws_sqs_queue_redrive_allow_policy.dead["search"].redrive_allow_policy) == { redrivePermission = "byQueue", sourceQueueArns = [aws_sqs_queue.sink["search"].arn] }
    error_message = "Only its own queue may use a sink's dead letters."
  }

  assert {
    condition     = output.dead_letter_queue_names == ["shop-orders-pipe", "shop-orders-undelivered", "shop-orders-search-dead"] && output.sink_queue_names == ["shop-orders-search"]
    error_message = "The names of all queues must be told, for their alarms."
  }
}

run "queue_policies" {
  assert {
    condition = [for one in jsondecode(aws_sqs_queue_policy.sink["search"].policy).Statement : one if one.Effect == "Allow"] == [{
      Sid       = "TheRuleSends"
      Effect    = "Allow"
      Principal = { Service = "events.amazonaws.com" }
      Action    = ["sqs:SendMessage"]
      Resource  = "arn:aws:sqs:eu-central-1:111122223333:shop-orders-search"
      Condition = { ArnEquals = { "aws:SourceArn" = "arn:aws:events:eu-central-1:111122223333:rule/shop-orders/search" } }
    }]
    error_message = "Only the sink's own rule may send to its queue."
  }

  assert {
    condition = [for one in jsondecode(aws_sqs_queue_policy.undelivered.policy).Statement : one if one.Effect == "Allow"] == [{
      Sid       = "RulesAndBusSend"
      Effect    = "Allow"
      Principal = { Service = "events.amazonaws.com" }
      Action    = ["sqs:SendMessage"]
      Resource  = "arn:aws:sqs:eu-central-1:111122223333:shop-orders-undelivered"
      Condition = {
        ArnEquals = { "aws:SourceArn" = [
          "arn:aws:events:eu-central-1:111122223333:event-bus/shop-orders", "arn:aws:events:eu-central-1:111122223333:rule/shop-orders/search",
        ] }
      }
    }]
    error_message = "Only the table's rules and bus may send to the queue of undelivered events."
  }

  assert {
    condition = alltrue([
      for name, policy in { pipe = aws_sqs_queue_policy.pipe, undelivered = aws_sqs_queue_policy.undelivered, search-dead = aws_sqs_queue_policy.dead["search"] } :
      contains(jsondecode(policy.policy).Statement, {
        Sid       = "OnlyRedriveReads"
        Effect    = "Deny"
        Principal = "*"
        Action    = ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:ChangeMessageVisibility", "sqs:PurgeQueue", "sqs:StartMessageMoveTask"]
        Condition = { ArnNotEquals = { "aws:PrincipalArn" = "arn:aws:iam::111122223333:role/shop-redrive" } }
        Resource  = "arn:aws:sqs:eu-central-1:111122223333:shop-orders-${name}"
      }) && policy.queue_url == "https://sqs/${name}"
    ])
    error_message = "The redrive role alone may read dead letters."
  }

  assert {
    condition = alltrue([
      for policy in [aws_sqs_queue_policy.pipe, aws_sqs_queue_policy.undelivered, aws_sqs_queue_policy.dead["search"], aws_sqs_queue_policy.sink["search"]] :
      [for one in jsondecode(policy.policy).Statement : [one.Effect, one.Condition] if one.Sid == "OnlyEncryptedTransport"] == [["Deny", { Bool = { "aws:SecureTransport" = "false" } }]]
    ])
    error_message = "Queues must refuse what is not encrypted on its way."
  }
}

run "rights" {
  assert {
    condition = jsondecode(aws_iam_role.pipe.assume_role_policy).Statement == [{
      Effect    = "Allow"
      Principal = { Service = "pipes.amazonaws.com" }
      Action    = ["sts:AssumeRole"]
      Condition = {
        StringEquals = { "aws:SourceAccount" = "111122223333" }
        ArnEquals    = { "aws:SourceArn" = "arn:aws:pipes:eu-central-1:111122223333:pipe/shop-orders" }
      }
    }]
    error_message = "Only this very pipe may take the role."
  }

  assert {
    condition = { for one in jsondecode(aws_iam_role_policy.pipe.policy).Statement : one.Sid => [one.Action, one.Resource, try(one.Condition, null)] } == {
      ReadTheStream      = [["dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator"], var.table_stream_arn, null]
      FindTheStream      = [["dynamodb:ListStreams"], "arn:aws:dynamodb:eu-central-1:111122223333:table/orders/stream/*", null]
      PutEvents          = [["events:PutEvents"], "arn:aws:events:eu-central-1:111122223333:event-bus/shop-orders", null]
      TellWhatWasGivenUp = [["sqs:SendMessage"], "arn:aws:sqs:eu-central-1:111122223333:shop-orders-pipe", null]
      EncryptMessages = [
        ["kms:Decrypt", "kms:GenerateDataKey"], var.lake.kms_key_arn, { StringEquals = { "kms:ViaService" = "sqs.eu-central-1.amazonaws.com" } },
      ]
    }
    error_message = "The pipe may read its stream, put events on its bus and tell its dead-letter queue, and nothing more."
  }

  assert {
    condition = aws_iam_role_policy.redrive.role == "shop-redrive" && { for one in jsondecode(aws_iam_role_policy.redrive.policy).Statement : one.Sid => one.Resource } == {
      ReadDeadLetters = [
        "arn:aws:sqs:eu-central-1:111122223333:shop-orders-pipe", "arn:aws:sqs:eu-central-1:111122223333:shop-orders-search-dead",
        "arn:aws:sqs:eu-central-1:111122223333:shop-orders-undelivered",
      ]
      GiveBackToSinks = ["arn:aws:sqs:eu-central-1:111122223333:shop-orders-search"]
    }
    error_message = "The redrive role must be able to read the dead letters and to give a sink's back to it."
  }

  assert {
    condition = alltrue([
      for policy in [aws_iam_role_policy.pipe.policy, aws_iam_role_policy.redrive.policy, output.sinks["search"].reader_policy] :
      alltrue([for action in flatten(jsondecode(policy).Statement[*].Action) : !strcontains(action, "*")])
    ])
    error_message = "No action may have a wildcard."
  }

  assert {
    condition = jsondecode(output.sinks["search"].reader_policy).Statement[*].Resource == [
      "arn:aws:sqs:eu-central-1:111122223333:shop-orders-search", "arn:aws:kms:eu-central-1:111122223333:key/11111111-2222-3333-4444-555555555555",
    ]
    error_message = "A sink's consumer reads its queue and nothing else."
  }
}

run "choices" {
  variables {
    sinks = {
      search = { pattern = "{\"eventName\": [\"INSERT\", \"MODIFY\"]}", attempts = 8, visibility_seconds = 900 }
      audit  = {}
    }
    filter            = ["{\"dynamodb\": {\"NewImage\": {\"kind\": {\"S\": [\"order\"]}}}}"]
    input_template    = "{\"eventName\": <$.eventName>, \"dynamodb\": {\"Keys\": <$.dynamodb.Keys>, \"SequenceNumber\": <$.dynamodb.SequenceNumber>}}"
    table_kms_key_arn = "arn:aws:kms:eu-central-1:111122223333:key/99999999-2222-3333-4444-555555555555"
  }

  assert {
    condition     = jsondecode(aws_cloudwatch_event_rule.sink["search"].event_pattern) == { source = ["dynalake"], detail = { eventName = ["INSERT", "MODIFY"] } }
    error_message = "A sink's pattern is over the change record."
  }

  assert {
    condition     = try(jsondecode(aws_sqs_queue.sink["search"].redrive_policy).maxReceiveCount, 0) == 8 && aws_sqs_queue.sink["search"].visibility_timeout_seconds == 900 && length(aws_sqs_queue.sink) == 2 && length(aws_sqs_queue.dead) == 2
    error_message = "Each sink has its queue and its dead letters, as it was told."
  }

  assert {
    condition     = one(one(one(aws_pipes_pipe.this.source_parameters).filter_criteria).filter).pattern == var.filter[0] && one(aws_pipes_pipe.this.target_parameters).input_template == var.input_template
    error_message = "Filter and template must be the pipe's."
  }

  assert {
    condition = [for one in jsondecode(aws_iam_role_policy.pipe.policy).Statement : [one.Action, one.Resource, try(one.Condition, null)] if one.Sid == "DecryptTheStream"] == [[
      ["kms:Decrypt"], var.table_kms_key_arn, { StringEquals = { "kms:ViaService" = "dynamodb.eu-central-1.amazonaws.com" } },
    ]]
    error_message = "The pipe must be able to read a table that has a key of its own."
  }
}

run "refuses_an_age_as_old_as_the_stream" {
  command = plan

  variables {
    record_age_seconds = 86400
  }
  expect_failures = [var.record_age_seconds]
}

run "refuses_endless_retries" {
  command = plan

  variables {
    retries = -1
  }
  expect_failures = [var.retries]
}

run "refuses_a_template_without_versions" {
  command = plan

  variables {
    input_template = "{\"keys\": <$.dynamodb.Keys>}"
  }
  expect_failures = [var.input_template]
}

run "refuses_a_pattern_that_is_no_json" {
  command = plan

  variables {
    sinks = { search = { pattern = "eventName" } }
  }
  expect_failures = [var.sinks]
}

run "refuses_a_single_attempt" {
  command = plan

  variables {
    sinks = { search = { attempts = 1 } }
  }
  expect_failures = [var.sinks]
}
