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
  name       = "orders"
  table_name = "Orders"
}

# Every alarm of a table that has all there is of surface kds: what it looks at, and when it tells. The texts are put together from what was planned.
run "kds" {
  variables {
    surface        = "kds"
    stream_name    = "shop-orders"
    firehose_name  = "shop-orders-firehose"
    function_names = { consumer = "shop-orders-consumer", transform = "shop-orders-transform" }
    mapping_uuid   = "11111111-2222-3333-4444-555555555555"
    queue_names    = ["shop-orders-dead"]
  }

  assert {
    condition = {
      for name, one in aws_cloudwatch_metric_alarm.this : name => one.metric_name == null ? join("; ", sort(concat(
        [for query in one.metric_query : "${query.expression} ${coalesce(query.period, 0)}" if query.return_data],
        flatten([for query in one.metric_query : [for metric in query.metric : "${query.id}: ${metric.namespace} ${metric.metric_name} ${jsonencode(metric.dimensions)} ${metric.stat} ${metric.period}"]]),
      ))) : "${one.namespace} ${one.metric_name} ${jsonencode(one.dimensions)} ${one.statistic} ${one.period}"
      } == {
      "capture-silent"         = "IF(FILL(before, 0) > 0 AND FILL(after, 0) < 1, 1, 0) 0; after: AWS/Kinesis IncomingRecords {\"StreamName\":\"shop-orders\"} Sum 1800; before: AWS/DynamoDB ConsumedWriteCapacityUnits {\"TableName\":\"Orders\"} Sum 1800"
      "consumer-age"           = "AWS/Lambda IteratorAge {\"FunctionName\":\"shop-orders-consumer\"} Maximum 60"
      "consumer-concurrency"   = "AWS/Lambda ConcurrentExecutions {\"FunctionName\":\"shop-orders-consumer\"} Maximum 60"
      "consumer-errors"        = "AWS/Lambda Errors {\"FunctionName\":\"shop-orders-consumer\"} Sum 60"
      "consumer-silent"        = "IF(FILL(before, 0) > 0 AND FILL(after, 0) < 1, 1, 0) 0; after: AWS/Lambda Invocations {\"FunctionName\":\"shop-orders-consumer\"} Sum 1800; before: AWS/Kinesis IncomingRecords {\"StreamName\":\"shop-orders\"} Sum 1800"
      "consumer-throttled"     = "AWS/Lambda Throttles {\"FunctionName\":\"shop-orders-consumer\"} Sum 60"
      "dead-letters"           = "dynalake DeadLetters {\"Stream\":\"shop-orders\"} Sum 60"
      "destination-failed"     = "AWS/Lambda DestinationDeliveryFailures {\"FunctionName\":\"shop-orders-consumer\"} Sum 60"
      "dropped"                = "AWS/Lambda DroppedEventCount {\"EventSourceMappingUUID\":\"11111111-2222-3333-4444-555555555555\"} Sum 60"
      "failed-to-replicate"    = "SELECT SUM(FailedToReplicateRecordCount) FROM SCHEMA(\"AWS/DynamoDB\", DelegatedOperation, TableName) WHERE TableName = 'Orders' 60"
      "firehose-failed"        = "AWS/Firehose DeliveryToS3.Success {\"DeliveryStreamName\":\"shop-orders-firehose\"} Average 900"
      "firehose-freshness"     = "AWS/Firehose DeliveryToS3.DataFreshness {\"DeliveryStreamName\":\"shop-orders-firehose\"} Maximum 300"
      "firehose-silent"        = "IF(FILL(before, 0) > 0 AND FILL(after, 0) < 1, 1, 0) 0; after: AWS/Firehose DataReadFromKinesisStream.Records {\"DeliveryStreamName\":\"shop-orders-firehose\"} Sum 1800; before: AWS/Kinesis IncomingRecords {\"StreamName\":\"shop-orders\"} Sum 1800"
      "firehose-transform"     = "AWS/Firehose ExecuteProcessing.Success {\"DeliveryStreamName\":\"shop-orders-firehose\"} Average 300"
      "given-up"               = "AWS/Lambda OnFailureDestinationDeliveredEventCount {\"EventSourceMappingUUID\":\"11111111-2222-3333-4444-555555555555\"} Sum 60"
      "iterator-age"           = "AWS/Kinesis GetRecords.IteratorAgeMilliseconds {\"StreamName\":\"shop-orders\"} Maximum 60"
      "put-throttled"          = "SELECT MAX(ThrottledPutRecordCount) FROM SCHEMA(\"AWS/DynamoDB\", DelegatedOperation, TableName) WHERE TableName = 'Orders' 60"
      "queue-shop-orders-dead" = "AWS/SQS ApproximateNumberOfMessagesVisible {\"QueueName\":\"shop-orders-dead\"} Maximum 300"
      "read-throttled"         = "AWS/Kinesis ReadProvisionedThroughputExceeded {\"StreamName\":\"shop-orders\"} Sum 60"
      "transform-concurrency"  = "AWS/Lambda ConcurrentExecutions {\"FunctionName\":\"shop-orders-transform\"} Maximum 60"
      "transform-errors"       = "AWS/Lambda Errors {\"FunctionName\":\"shop-orders-transform\"} Sum 60"
      "transform-throttled"    = "AWS/Lambda Throttles {\"FunctionName\":\"shop-orders-transform\"} Sum 60"
      "unlanded"               = "dynalake Unlanded {\"Stream\":\"shop-orders\"} Sum 60"
      "unreplicated-age"       = "SELECT MAX(AgeOfOldestUnreplicatedRecord) FROM SCHEMA(\"AWS/DynamoDB\", DelegatedOperation, TableName) WHERE TableName = 'Orders' 60"
      "write-throttled"        = "AWS/Kinesis WriteProvisionedThroughputExceeded {\"StreamName\":\"shop-orders\"} Sum 60"
    }
    error_message = "What the alarms look at is not what was expected."
  }

  assert {
    condition = {
      for name, one in aws_cloudwatch_metric_alarm.this :
      name => "${one.datapoints_to_alarm} of ${one.evaluation_periods} ${one.comparison_operator} ${one.threshold}, ${one.treat_missing_data}"
      } == {
      "capture-silent"         = "2 of 2 GreaterThanOrEqualToThreshold 1, ignore"
      "consumer-age"           = "5 of 5 GreaterThanOrEqualToThreshold 3600000, notBreaching"
      "consumer-concurrency"   = "5 of 15 GreaterThanOrEqualToThreshold 800, notBreaching"
      "consumer-errors"        = "5 of 15 GreaterThanOrEqualToThreshold 1, notBreaching"
      "consumer-silent"        = "2 of 2 GreaterThanOrEqualToThreshold 1, ignore"
      "consumer-throttled"     = "10 of 15 GreaterThanOrEqualToThreshold 1, notBreaching"
      "dead-letters"           = "1 of 1 GreaterThanOrEqualToThreshold 1, notBreaching"
      "destination-failed"     = "1 of 1 GreaterThanOrEqualToThreshold 1, notBreaching"
      "dropped"                = "1 of 1 GreaterThanOrEqualToThreshold 1, notBreaching"
      "failed-to-replicate"    = "1 of 1 GreaterThanOrEqualToThreshold 1, notBreaching"
      "firehose-failed"        = "2 of 2 LessThanThreshold 1, notBreaching"
      "firehose-freshness"     = "2 of 2 GreaterThanOrEqualToThreshold 2700, notBreaching"
      "firehose-silent"        = "2 of 2 GreaterThanOrEqualToThreshold 1, ignore"
      "firehose-transform"     = "1 of 1 LessThanThreshold 1, notBreaching"
      "given-up"               = "1 of 1 GreaterThanOrEqualToThreshold 1, notBreaching"
      "iterator-age"           = "5 of 5 GreaterThanOrEqualToThreshold 3600000, breaching"
      "put-throttled"          = "10 of 15 GreaterThanOrEqualToThreshold 1, notBreaching"
      "queue-shop-orders-dead" = "1 of 1 GreaterThanOrEqualToThreshold 1, ignore"
      "read-throttled"         = "10 of 15 GreaterThanOrEqualToThreshold 1, notBreaching"
      "transform-concurrency"  = "5 of 15 GreaterThanOrEqualToThreshold 800, notBreaching"
      "transform-errors"       = "5 of 15 GreaterThanOrEqualToThreshold 1, notBreaching"
      "transform-throttled"    = "10 of 15 GreaterThanOrEqualToThreshold 1, notBreaching"
      "unlanded"               = "5 of 15 GreaterThanOrEqualToThreshold 1, notBreaching"
      "unreplicated-age"       = "5 of 5 GreaterThanOrEqualToThreshold 3600000, notBreaching"
      "write-throttled"        = "10 of 15 GreaterThanOrEqualToThreshold 1, notBreaching"
    }
    error_message = "When the alarms tell is not what was expected."
  }

  assert {
    condition = alltrue([
      for one in aws_cloudwatch_metric_alarm.this :
      one.actions_enabled && one.alarm_actions == toset([var.lake.alarm_topic_arn]) && one.ok_actions == toset([var.lake.alarm_topic_arn])
    ])
    error_message = "An alarm tells nobody: its actions must be on, and go to the lake's topic."
  }

  assert {
    condition = alltrue([
      for name, one in aws_cloudwatch_metric_alarm.this :
      one.alarm_name == "shop-orders-${name}" && startswith(one.alarm_description, "Orders (lake shop): ") && length(one.alarm_description) <= 1024
    ])
    error_message = "An alarm must say which table it is about, in 1,024 characters."
  }

  assert {
    condition     = length(one([for widget in jsondecode(aws_cloudwatch_dashboard.this.dashboard_body).widgets : widget if widget.type == "alarm"]).properties.alarms) == length(aws_cloudwatch_metric_alarm.this)
    error_message = "The dashboard must show every alarm."
  }

  assert {
    condition = contains(flatten([
      for widget in jsondecode(aws_cloudwatch_dashboard.this.dashboard_body).widgets : [for line in try(widget.properties.metrics, []) : try(line[0].expression, "")]
    ]), "SEARCH('{AWS/Kinesis,ShardId,StreamName} MetricName=\"IteratorAgeMilliseconds\" StreamName=\"shop-orders\"', 'Maximum', 60)")
    error_message = "The dashboard must show the age of records by shard."
  }

  assert {
    condition = anytrue(flatten([
      for widget in jsondecode(aws_cloudwatch_dashboard.this.dashboard_body).widgets : [for line in try(widget.properties.metrics, []) : strcontains(try(line[0].expression, ""), "NewestChangeAge")]
    ]))
    error_message = "The dashboard must show how old the lake's newest change is."
  }

  assert {
    condition     = output.alarm_names["failed-to-replicate"] == "shop-orders-failed-to-replicate" && keys(output.alarm_arns) == keys(output.alarm_names)
    error_message = "Names and ARNs of the alarms must be told by what they watch."
  }
}

# And of surface pipe: what it looks at, and when it tells. The texts are put together from what was planned.
run "pipe" {
  variables {
    surface          = "pipe"
    function_names   = { consumer = "shop-orders-consumer" }
    mapping_uuid     = "11111111-2222-3333-4444-555555555555"
    queue_names      = ["shop-orders-dead"]
    sink_queue_names = ["shop-orders-search"]
    pipe_name        = "shop-orders"
  }

  assert {
    condition = {
      for name, one in aws_cloudwatch_metric_alarm.this : name => one.metric_name == null ? join("; ", sort(concat(
        [for query in one.metric_query : "${query.expression} ${coalesce(query.period, 0)}" if query.return_data],
        flatten([for query in one.metric_query : [for metric in query.metric : "${query.id}: ${metric.namespace} ${metric.metric_name} ${jsonencode(metric.dimensions)} ${metric.stat} ${metric.period}"]]),
      ))) : "${one.namespace} ${one.metric_name} ${jsonencode(one.dimensions)} ${one.statistic} ${one.period}"
      } == {
      "consumer-age"            = "AWS/Lambda IteratorAge {\"FunctionName\":\"shop-orders-consumer\"} Maximum 60"
      "consumer-concurrency"    = "AWS/Lambda ConcurrentExecutions {\"FunctionName\":\"shop-orders-consumer\"} Maximum 60"
      "consumer-errors"         = "AWS/Lambda Errors {\"FunctionName\":\"shop-orders-consumer\"} Sum 60"
      "consumer-silent"         = "IF(FILL(before, 0) > 0 AND FILL(after, 0) < 1, 1, 0) 0; after: AWS/Lambda Invocations {\"FunctionName\":\"shop-orders-consumer\"} Sum 1800; before: AWS/DynamoDB ConsumedWriteCapacityUnits {\"TableName\":\"Orders\"} Sum 1800"
      "consumer-throttled"      = "AWS/Lambda Throttles {\"FunctionName\":\"shop-orders-consumer\"} Sum 60"
      "dead-letters"            = "dynalake DeadLetters {\"Stream\":\"Orders\"} Sum 60"
      "destination-failed"      = "AWS/Lambda DestinationDeliveryFailures {\"FunctionName\":\"shop-orders-consumer\"} Sum 60"
      "dropped"                 = "AWS/Lambda DroppedEventCount {\"EventSourceMappingUUID\":\"11111111-2222-3333-4444-555555555555\"} Sum 60"
      "given-up"                = "AWS/Lambda OnFailureDestinationDeliveredEventCount {\"EventSourceMappingUUID\":\"11111111-2222-3333-4444-555555555555\"} Sum 60"
      "pipe-failed"             = "AWS/EventBridge/Pipes ExecutionFailed {\"PipeName\":\"shop-orders\"} Sum 60"
      "pipe-partly-failed"      = "AWS/EventBridge/Pipes ExecutionPartiallyFailed {\"PipeName\":\"shop-orders\"} Sum 60"
      "pipe-silent"             = "IF(FILL(before, 0) > 0 AND FILL(after, 0) < 1, 1, 0) 0; after: AWS/EventBridge/Pipes Invocations {\"PipeName\":\"shop-orders\"} Sum 1800; before: AWS/DynamoDB ConsumedWriteCapacityUnits {\"TableName\":\"Orders\"} Sum 1800"
      "pipe-throttled"          = "AWS/EventBridge/Pipes ExecutionThrottled {\"PipeName\":\"shop-orders\"} Sum 60"
      "pipe-timeout"            = "AWS/EventBridge/Pipes ExecutionTimeout {\"PipeName\":\"shop-orders\"} Sum 60"
      "queue-shop-orders-dead"  = "AWS/SQS ApproximateNumberOfMessagesVisible {\"QueueName\":\"shop-orders-dead\"} Maximum 300"
      "sink-shop-orders-search" = "AWS/SQS ApproximateAgeOfOldestMessage {\"QueueName\":\"shop-orders-search\"} Maximum 300"
      "sinks-lost"              = "SELECT SUM(InvocationsFailedToBeSentToDlq) FROM SCHEMA(\"AWS/Events\", EventBusName, RuleName) WHERE EventBusName = 'shop-orders' 60"
      "sinks-undelivered"       = "SELECT SUM(FailedInvocations) FROM SCHEMA(\"AWS/Events\", EventBusName, RuleName) WHERE EventBusName = 'shop-orders' 60"
      "unlanded"                = "dynalake Unlanded {\"Stream\":\"Orders\"} Sum 60"
    }
    error_message = "What the alarms look at is not what was expected."
  }

  assert {
    condition = {
      for name, one in aws_cloudwatch_metric_alarm.this :
      name => "${one.datapoints_to_alarm} of ${one.evaluation_periods} ${one.comparison_operator} ${one.threshold}, ${one.treat_missing_data}"
      } == {
      "consumer-age"            = "5 of 5 GreaterThanOrEqualToThreshold 3600000, notBreaching"
      "consumer-concurrency"    = "5 of 15 GreaterThanOrEqualToThreshold 800, notBreaching"
      "consumer-errors"         = "5 of 15 GreaterThanOrEqualToThreshold 1, notBreaching"
      "consumer-silent"         = "2 of 2 GreaterThanOrEqualToThreshold 1, ignore"
      "consumer-throttled"      = "10 of 15 GreaterThanOrEqualToThreshold 1, notBreaching"
      "dead-letters"            = "1 of 1 GreaterThanOrEqualToThreshold 1, notBreaching"
      "destination-failed"      = "1 of 1 GreaterThanOrEqualToThreshold 1, notBreaching"
      "dropped"                 = "1 of 1 GreaterThanOrEqualToThreshold 1, notBreaching"
      "given-up"                = "1 of 1 GreaterThanOrEqualToThreshold 1, notBreaching"
      "pipe-failed"             = "5 of 15 GreaterThanOrEqualToThreshold 1, ignore"
      "pipe-partly-failed"      = "5 of 15 GreaterThanOrEqualToThreshold 1, ignore"
      "pipe-silent"             = "2 of 2 GreaterThanOrEqualToThreshold 1, ignore"
      "pipe-throttled"          = "10 of 15 GreaterThanOrEqualToThreshold 1, ignore"
      "pipe-timeout"            = "5 of 15 GreaterThanOrEqualToThreshold 1, ignore"
      "queue-shop-orders-dead"  = "1 of 1 GreaterThanOrEqualToThreshold 1, ignore"
      "sink-shop-orders-search" = "3 of 3 GreaterThanOrEqualToThreshold 86400, ignore"
      "sinks-lost"              = "1 of 1 GreaterThanOrEqualToThreshold 1, notBreaching"
      "sinks-undelivered"       = "1 of 1 GreaterThanOrEqualToThreshold 1, notBreaching"
      "unlanded"                = "5 of 15 GreaterThanOrEqualToThreshold 1, notBreaching"
    }
    error_message = "When the alarms tell is not what was expected."
  }

  assert {
    condition = alltrue([
      for one in aws_cloudwatch_metric_alarm.this :
      one.actions_enabled && one.alarm_actions == toset([var.lake.alarm_topic_arn]) && one.ok_actions == toset([var.lake.alarm_topic_arn])
    ])
    error_message = "An alarm tells nobody: its actions must be on, and go to the lake's topic."
  }

  assert {
    condition = alltrue([
      for name, one in aws_cloudwatch_metric_alarm.this :
      one.alarm_name == "shop-orders-${name}" && startswith(one.alarm_description, "Orders (lake shop): ") && length(one.alarm_description) <= 1024
    ])
    error_message = "An alarm must say which table it is about, in 1,024 characters."
  }

  assert {
    condition     = length(one([for widget in jsondecode(aws_cloudwatch_dashboard.this.dashboard_body).widgets : widget if widget.type == "alarm"]).properties.alarms) == length(aws_cloudwatch_metric_alarm.this)
    error_message = "The dashboard must show every alarm."
  }
}

# A native stream with a consumer alone: nothing of Kinesis, Firehose or a pipe.
run "streams" {
  variables {
    surface        = "streams"
    function_names = { consumer = "shop-orders-consumer" }
    mapping_uuid   = "11111111-2222-3333-4444-555555555555"
    queue_names    = ["shop-orders-dead"]
  }

  assert {
    condition = keys(aws_cloudwatch_metric_alarm.this) == [
      "consumer-age", "consumer-concurrency", "consumer-errors", "consumer-silent", "consumer-throttled", "dead-letters",
      "destination-failed", "dropped", "given-up", "queue-shop-orders-dead", "unlanded",
    ]
    error_message = "A native stream has the alarms of its consumer, and no others."
  }
}

run "firehose_alone" {
  variables {
    surface       = "kds"
    stream_name   = "shop-orders"
    firehose_name = "shop-orders-firehose"
  }

  assert {
    condition = keys(aws_cloudwatch_metric_alarm.this) == [
      "capture-silent", "failed-to-replicate", "firehose-failed", "firehose-freshness", "firehose-silent", "iterator-age",
      "put-throttled", "read-throttled", "unreplicated-age", "write-throttled",
    ]
    error_message = "Firehose alone has its own alarms and those of the stream, and no others."
  }
}

run "thresholds" {
  variables {
    surface          = "pipe"
    function_names   = { consumer = "shop-orders-consumer" }
    mapping_uuid     = "11111111-2222-3333-4444-555555555555"
    sink_queue_names = ["shop-orders-search"]
    pipe_name        = "shop-orders"
    thresholds = {
      iterator_age_seconds = 600, concurrency = 40, sink_age_seconds = 900, silent_minutes = 10, pipe_silent_minutes = 240
      throttled_minutes    = 7, failing_minutes = 3
    }
  }

  assert {
    condition = {
      for name in ["consumer-age", "consumer-concurrency", "sink-shop-orders-search", "consumer-throttled", "consumer-errors"] :
      name => [aws_cloudwatch_metric_alarm.this[name].threshold, aws_cloudwatch_metric_alarm.this[name].datapoints_to_alarm]
      } == {
      consumer-age    = [600000, 5], consumer-concurrency = [40, 5], sink-shop-orders-search = [900, 3], consumer-throttled = [1, 7]
      consumer-errors = [1, 3]
    }
    error_message = "Thresholds must be those that were given."
  }

  assert {
    condition = [
      for name in ["consumer-silent", "pipe-silent"] :
      one(flatten([for query in aws_cloudwatch_metric_alarm.this[name].metric_query : query.metric[*].period if query.id == "after"]))
    ] == [300, 7200]
    error_message = "Silence must be counted over the minutes that were given."
  }
}

run "refuses_a_stream_that_nobody_watches" {
  command = plan

  variables {
    surface       = "kds"
    firehose_name = "shop-orders-firehose"
  }
  expect_failures = [var.stream_name]
}

run "refuses_a_table_that_nothing_captures" {
  command = plan

  variables {
    surface     = "kds"
    stream_name = "shop-orders"
  }
  expect_failures = [var.function_names]
}

run "refuses_a_consumer_without_its_mapping" {
  command = plan

  variables {
    surface        = "streams"
    function_names = { consumer = "shop-orders-consumer" }
  }
  expect_failures = [var.mapping_uuid]
}

run "refuses_a_pipe_without_its_name" {
  command = plan

  variables {
    surface        = "pipe"
    function_names = { consumer = "shop-orders-consumer" }
    mapping_uuid   = "11111111-2222-3333-4444-555555555555"
  }
  expect_failures = [var.pipe_name]
}

run "refuses_an_age_that_leaves_no_time" {
  command = plan

  variables {
    surface        = "streams"
    function_names = { consumer = "shop-orders-consumer" }
    mapping_uuid   = "11111111-2222-3333-4444-555555555555"
    thresholds     = { iterator_age_seconds = 86400 }
  }
  expect_failures = [var.thresholds]
}

run "refuses_to_tell_when_records_are_given_up" {
  command = plan

  variables {
    surface            = "streams"
    function_names     = { consumer = "shop-orders-consumer" }
    mapping_uuid       = "11111111-2222-3333-4444-555555555555"
    record_age_seconds = 3600
  }
  expect_failures = [var.record_age_seconds]
}

run "refuses_a_replication_age_that_leaves_no_time" {
  command = plan

  variables {
    surface       = "kds"
    stream_name   = "shop-orders"
    firehose_name = "shop-orders-firehose"
    thresholds    = { unreplicated_age_seconds = 604800 }
  }
  expect_failures = [var.thresholds]
}
