# The alarms of one table. What is watched stands in the files beside this one, as maps from the alarm's name to an object:
#
#   when      whether this table has what is watched
#   metric    namespace, name, dimensions and statistic; or `query`, CloudWatch's SQL; or `math` over `metrics`
#   period    seconds
#   of        [minutes or periods that must breach, of how many]
#   compare   comparison and threshold
#   missing   what no data means: said with each why
#   tell      what happened, what is lost and when, and what to look at
#
# Names of metrics and dimensions are those of AWS' pages "Monitoring the Amazon Kinesis Data Streams Service with CloudWatch",
# "DynamoDB metrics and dimensions", "Monitor Amazon Data Firehose with CloudWatch metrics", "Types of metrics for Lambda
# functions", "Available CloudWatch metrics for Amazon SQS", "Monitoring Amazon EventBridge" and "Logging and monitoring Amazon
# EventBridge Pipes".

locals {
  prefix    = "${var.lake.name}-${var.name}"
  functions = { for role in ["consumer", "transform"] : role => lookup(var.function_names, role, "") }

  has_consumer  = contains(keys(var.function_names), "consumer")
  has_transform = contains(keys(var.function_names), "transform")
  has_stream    = var.surface == "kds"
  has_firehose  = var.firehose_name != null
  has_pipe      = var.surface == "pipe"

  # The value of the dimension Stream of our own metrics (ingest/metrics.py): a native stream goes by its table's name.
  stream_dimension = local.has_stream ? var.stream_name : var.table_name

  at_least = "GreaterThanOrEqualToThreshold"
  below    = "LessThanThreshold"

  watched = {
    for name, one in merge(
      local.watched_stream, local.watched_silence, local.watched_firehose, local.watched_functions, local.watched_mapping,
      local.watched_queues, local.watched_pipe,
    ) : name => one if one.when
  }
}

resource "aws_cloudwatch_metric_alarm" "this" {
  for_each = local.watched

  alarm_name        = "${local.prefix}-${each.key}"
  alarm_description = "${var.table_name} (lake ${var.lake.name}): ${each.value.tell} What to do: docs/playbook.md, ${each.key}."

  namespace   = try(each.value.metric.namespace, null)
  metric_name = try(each.value.metric.name, null)
  dimensions  = try(each.value.metric.dimensions, null)
  statistic   = try(each.value.metric.statistic, null)
  period      = can(each.value.metric) ? each.value.period : null

  dynamic "metric_query" {
    for_each = can(each.value.query) ? [each.value.query] : []

    content {
      id          = "found"
      expression  = metric_query.value
      period      = each.value.period
      return_data = true
    }
  }

  dynamic "metric_query" {
    for_each = can(each.value.math) ? [each.value.math] : []

    content {
      id          = "found"
      expression  = metric_query.value
      return_data = true
    }
  }

  dynamic "metric_query" {
    for_each = try(each.value.metrics, {})

    content {
      id          = metric_query.key
      return_data = false

      metric {
        namespace   = metric_query.value.namespace
        metric_name = metric_query.value.name
        dimensions  = metric_query.value.dimensions
        stat        = metric_query.value.statistic
        period      = each.value.period
      }
    }
  }

  datapoints_to_alarm = each.value.of[0]
  evaluation_periods  = each.value.of[1]
  comparison_operator = each.value.compare[0]
  threshold           = each.value.compare[1]
  treat_missing_data  = each.value.missing

  actions_enabled = true
  alarm_actions   = [var.lake.alarm_topic_arn]
  ok_actions      = [var.lake.alarm_topic_arn]
}
