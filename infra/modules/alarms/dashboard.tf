# One page of the table for people: from left to right as changes flow, from top to bottom from how much over how late to what went
# wrong. What this table does not have is left out, and the row closes up.

data "aws_region" "current" {}

locals {
  has_functions = length(var.function_names) > 0

  # A graph's lines by title, each with whether this table has it, and itself as CloudWatch's dashboards have it ("Dashboard body
  # structure and syntax").
  written = [
    { when = true, line = ["AWS/DynamoDB", "ConsumedWriteCapacityUnits", "TableName", var.table_name, { label = "write units" }] },
  ]
  in_and_out = [
    { when = local.has_stream, line = ["AWS/Kinesis", "IncomingRecords", "StreamName", local.kinesis.StreamName, { label = "in" }] },
    { when = local.has_stream, line = ["AWS/Kinesis", "GetRecords.Records", "StreamName", local.kinesis.StreamName, { label = "out, of all readers" }] },
  ]
  landed = [
    { when = local.has_functions, line = ["dynalake", "Landed", "Stream", local.stream_dimension, { label = "by our functions" }] },
    { when = local.has_functions, line = ["dynalake", "Duplicates", "Stream", local.stream_dimension, { label = "copies within a batch" }] },
    { when = local.has_firehose, line = ["AWS/Firehose", "DeliveryToS3.Records", "DeliveryStreamName", local.delivery.DeliveryStreamName, { label = "by Firehose" }] },
  ]
  fanned_out = [
    { when = local.has_pipe, line = ["AWS/EventBridge/Pipes", "EventCount", "PipeName", local.pipe.PipeName, { label = "through the pipe" }] },
  ]

  unreplicated = [
    { when = local.has_stream, line = [{ id = "unreplicated", label = "oldest change", period = 60, expression = local.replication["AgeOfOldestUnreplicatedRecord"] }] },
  ]
  unread = [{
    when = local.has_stream
    line = [{
      id         = "shards"
      label      = ""
      expression = "SEARCH('{AWS/Kinesis,ShardId,StreamName} MetricName=\"IteratorAgeMilliseconds\" StreamName=\"${local.kinesis.StreamName}\"', 'Maximum', 60)"
    }]
  }]
  behind = [
    { when = local.has_firehose, line = ["AWS/Firehose", "DeliveryToS3.DataFreshness", "DeliveryStreamName", local.delivery.DeliveryStreamName, { label = "Firehose" }] },
    { when = local.has_consumer, line = ["AWS/Lambda", "IteratorAge", "FunctionName", local.functions.consumer, { id = "age", visible = false }] },
    { when = local.has_consumer, line = [{ id = "seconds", label = "consumer", expression = "age / 1000" }] },
  ]
  # Said by the jobs (modules/jobs): how old the newest change is that the lake has, whichever job looked.
  lake_age = [{
    when = true
    line = [{
      id         = "lake"
      label      = ""
      expression = "SEARCH('{dynalake,Job,Lake,Table} MetricName=\"NewestChangeAge\" Table=\"${var.table_name}\"', 'Maximum', 300)"
    }]
  }]

  left_out = [
    { when = local.has_stream, line = [{ id = "left", label = "left out: too large", period = 60, expression = local.replication["FailedToReplicateRecordCount"] }] },
    { when = local.has_stream, line = [{ id = "throttled", label = "throttled puts", period = 60, expression = local.replication["ThrottledPutRecordCount"] }] },
    { when = local.has_stream, line = ["AWS/Kinesis", "WriteProvisionedThroughputExceeded", "StreamName", local.kinesis.StreamName, { label = "shards full" }] },
    { when = local.has_stream, line = ["AWS/Kinesis", "ReadProvisionedThroughputExceeded", "StreamName", local.kinesis.StreamName, { label = "reads refused" }] },
  ]
  functions_failed = [
    for pair in setproduct(sort(keys(var.function_names)), ["Errors", "Throttles"]) :
    { when = true, line = ["AWS/Lambda", pair[1], "FunctionName", var.function_names[pair[0]], { label = "${pair[0]}: ${lower(pair[1])}" }] }
  ]
  pipe_failed = [
    for metric in ["ExecutionFailed", "ExecutionPartiallyFailed", "ExecutionTimeout", "ExecutionThrottled"] :
    { when = local.has_pipe, line = ["AWS/EventBridge/Pipes", metric, "PipeName", local.pipe.PipeName, { label = metric }] }
  ]
  set_aside = concat(
    [
      for name in concat(var.queue_names, var.sink_queue_names) :
      { when = true, line = ["AWS/SQS", "ApproximateNumberOfMessagesVisible", "QueueName", name, { label = name, stat = "Maximum" }] }
    ],
    [
      { when = local.has_functions, line = ["dynalake", "DeadLetters", "Stream", local.stream_dimension, { label = "dead letters" }] },
      { when = local.has_functions, line = ["dynalake", "Unlanded", "Stream", local.stream_dimension, { label = "not landed yet" }] },
      { when = local.has_consumer, line = ["AWS/Lambda", "OnFailureDestinationDeliveredEventCount", "EventSourceMappingUUID", var.mapping_uuid, { label = "given up" }] },
    ],
  )

  rows = [
    [
      { title = "1 Table: capacity written", stat = "Sum", unit = "units a minute", lines = local.written },
      { title = "2 Stream: in and out", stat = "Sum", unit = "records a minute", lines = local.in_and_out },
      { title = "3 Capture: landed in raw/", stat = "Sum", unit = "records a minute", lines = local.landed },
      { title = "4 Fan-out: through the pipe", stat = "Sum", unit = "events a minute", lines = local.fanned_out },
    ],
    [
      { title = "1 Not replicated yet: age (at 168 h it stops)", stat = "Maximum", unit = "ms", lines = local.unreplicated },
      { title = "2 Not read yet: age by shard", stat = "Maximum", unit = "ms", lines = local.unread },
      { title = "3 Capture: how far behind", stat = "Maximum", unit = "s", lines = local.behind },
      { title = "4 Lake: age of the newest change", stat = "Maximum", unit = "s", lines = local.lake_age },
    ],
    [
      { title = "1 Left out for good, throttled", stat = "Sum", unit = "records", lines = local.left_out },
      { title = "2 Functions: failed", stat = "Sum", unit = "invocations", lines = local.functions_failed },
      { title = "3 Fan-out: failed", stat = "Sum", unit = "executions", lines = local.pipe_failed },
      { title = "4 Set aside", stat = "Sum", unit = "messages, records", lines = local.set_aside },
    ],
  ]

  graphs = concat([
    for y, row in local.rows : [
      for x, graph in [for one in row : one if anytrue(one.lines[*].when)] : {
        type   = "metric"
        x      = x * 6
        y      = 5 + y * 6
        width  = 6
        height = 6
        properties = {
          title   = graph.title
          region  = data.aws_region.current.name
          view    = "timeSeries"
          stat    = graph.stat
          period  = 60
          metrics = [for one in graph.lines : one.line if one.when]
          yAxis   = { left = { label = graph.unit, min = 0, showUnits = false } }
        }
      }
    ]
  ]...)

  headers = [
    {
      type   = "text"
      x      = 0
      y      = 0
      width  = 6
      height = 5
      properties = {
        markdown = "## ${var.table_name}\nLake `${var.lake.name}`, surface `${var.surface}`. From left to right as changes flow; below that how late they are, and below that what went wrong. `dynalake status` and `dynalake doctor` say more."
      }
    },
    {
      type   = "alarm"
      x      = 6
      y      = 0
      width  = 18
      height = 5
      properties = {
        title  = "Alarms"
        alarms = [for name in sort(keys(local.watched)) : aws_cloudwatch_metric_alarm.this[name].arn]
      }
    },
  ]
}

resource "aws_cloudwatch_dashboard" "this" {
  dashboard_name = local.prefix
  dashboard_body = jsonencode({ widgets = concat(local.headers, local.graphs) })
}
