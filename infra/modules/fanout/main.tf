# From the native stream to sinks: pipe → event bus → for each sink a rule and a queue.
#
# The lake does not rest on any of this: its changes come by the consumer. So the bus has no archive, for what a sink missed is
# filled from the lake, which also has what happened before the sink was there.

data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}
data "aws_region" "current" {}

locals {
  # Pipe and bus bear this name both: modules/alarms goes by it.
  full_name = "${var.lake.name}-${var.name}"

  account   = data.aws_caller_identity.current.account_id
  partition = data.aws_partition.current.partition
  dns       = data.aws_partition.current.dns_suffix
  region    = data.aws_region.current.name

  table_arn = split("/stream/", var.table_stream_arn)[0]
  pipe_arn  = "arn:${local.partition}:pipes:${local.region}:${local.account}:pipe/${local.full_name}"

  event_source = "dynalake"
}

resource "aws_cloudwatch_event_bus" "this" {
  name               = local.full_name
  description        = "Changes of ${local.table_arn} for sinks"
  kms_key_identifier = var.lake.kms_key_arn

  # Events that the bus cannot encrypt or decrypt would be gone otherwise. (Where the key itself is off, the queue cannot take them
  # either, and the whole lake stands still.)
  dead_letter_config {
    arn = aws_sqs_queue.undelivered.arn
  }
}

resource "aws_cloudwatch_event_rule" "sink" {
  for_each = var.sinks

  name           = each.key
  description    = "What the sink ${each.key} takes of ${local.table_arn}"
  event_bus_name = aws_cloudwatch_event_bus.this.name
  state          = "ENABLED"

  event_pattern = jsonencode(merge(
    { source = [local.event_source] },
    each.value.pattern == null ? null : { detail = jsondecode(each.value.pattern) },
  ))
}

resource "aws_cloudwatch_event_target" "sink" {
  for_each = var.sinks

  rule           = aws_cloudwatch_event_rule.sink[each.key].name
  event_bus_name = aws_cloudwatch_event_bus.this.name
  target_id      = each.key
  arn            = aws_sqs_queue.sink[each.key].arn

  # As long as EventBridge will ("Event retry policy and using dead-letter queues").
  retry_policy {
    maximum_event_age_in_seconds = 86400
    maximum_retry_attempts       = 185
  }

  dead_letter_config {
    arn = aws_sqs_queue.undelivered.arn
  }
}

resource "aws_cloudwatch_log_group" "pipe" {
  # AWS keeps the right to write under this prefix in one policy ("Logging from AWS services").
  name              = "/aws/vendedlogs/pipes/${local.full_name}"
  retention_in_days = var.log_retention_days
  kms_key_id        = var.lake.kms_key_arn
}

resource "aws_pipes_pipe" "this" {
  name          = local.full_name
  description   = "Changes of ${local.table_arn} to the event bus ${local.full_name}"
  role_arn      = aws_iam_role.pipe.arn
  source        = var.table_stream_arn
  target        = aws_cloudwatch_event_bus.this.arn
  desired_state = "RUNNING"

  source_parameters {
    dynamodb_stream_parameters {
      # LATEST misses what comes while the pipe is made.
      starting_position = "TRIM_HORIZON"

      # The bus takes ten events at a time ("EventBridge Pipes batching and concurrency").
      batch_size                         = 10
      maximum_batching_window_in_seconds = 1
      maximum_record_age_in_seconds      = var.record_age_seconds
      maximum_retry_attempts             = var.retries
      on_partial_batch_item_failure      = "AUTOMATIC_BISECT"

      dead_letter_config {
        arn = aws_sqs_queue.pipe.arn
      }
    }

    dynamic "filter_criteria" {
      for_each = length(var.filter) > 0 ? [var.filter] : []

      content {
        dynamic "filter" {
          for_each = filter_criteria.value

          content {
            pattern = filter.value
          }
        }
      }
    }
  }

  target_parameters {
    input_template = var.input_template

    eventbridge_event_bus_parameters {
      source      = local.event_source
      detail_type = "DynamoDB change"
      resources   = [local.table_arn]
    }
  }

  # Execution data would be items: it stays out.
  log_configuration {
    level = "ERROR"

    cloudwatch_logs_log_destination {
      log_group_arn = aws_cloudwatch_log_group.pipe.arn
    }
  }

  # Events that come while no rule takes them, or no queue lets them in, are gone: the pipe comes last.
  depends_on = [
    aws_iam_role_policy.pipe,
    aws_cloudwatch_event_target.sink,
    aws_sqs_queue_policy.sink,
    aws_sqs_queue_policy.undelivered,
  ]
}
