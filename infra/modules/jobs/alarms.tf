# Alarms of jobs, of what each says of itself (--metrics, dynalake/jobs.py), and of the scheduler. Each is one object of the map `alarms`: what is watched
# (`metric`; or `math` of the metrics in `of`), when it tells, and what no data means.
#
# Names are those of AWS' pages "Monitoring Amazon EventBridge Scheduler with Amazon CloudWatch", "Available CloudWatch metrics for Amazon SQS" and
# "DynamoDB metrics and dimensions". How far an alarm may look back: PutMetricAlarm in the CloudWatch API reference, a day for periods under an hour,
# else seven.

locals {
  at_least = "GreaterThanOrEqualToThreshold"
  above    = "GreaterThanThreshold"
  below    = "LessThanThreshold"

  ours = {
    for name, one in local.jobs : name => {
      namespace  = "dynalake"
      dimensions = { Lake = var.lake.uri, Job = one.job, Table = one.table }
    }
  }

  # FILL: a job that says nothing says zero. Without it CloudWatch goes by the last value it can find, farther back than the alarm looks (AWS: "Configuring
  # how CloudWatch alarms treat missing data"), and a daily job's silence would be told days late.
  not_run = {
    for name, one in local.jobs : "${name}-not-run" => {
      math    = "FILL(succeeded, 0)"
      of      = { succeeded = merge(local.ours[name], { name = "Succeeded", statistic = "Sum" }) }
      period  = one.silent_hours > 24 ? 3600 : 300
      periods = one.silent_hours > 24 ? one.silent_hours : one.silent_hours * 12
      compare = local.below
      limit   = 1
      missing = "breaching" # it never ran at all
      tell    = "no ${one.job} of ${one.table} has succeeded for ${one.silent_hours} h. Was it started (schedule ${name}, queue ${local.prefix}-not-started)? Could its task start (stopped tasks of cluster ${local.prefix})? Was it killed, as for memory? Does one hold locks/${one.job}-… for hours? Nothing is lost while the raw objects stay; the lake falls behind."
    }
  }

  failed = {
    for name, one in local.jobs : "${name}-failed" => {
      metric  = merge(local.ours[name], { name = "Failed", statistic = "Sum" })
      period  = 3600
      periods = 1
      compare = local.at_least
      limit   = var.thresholds.failed[one.job]
      missing = "notBreaching" # it did not run, which is told by not-run
      tell    = "${one.job} of ${one.table} failed. The log says why, and what to do: log group ${aws_cloudwatch_log_group.this.name}. What was committed before stays; the next run goes on from there."
    }
  }

  dead_letters = {
    for name, one in local.jobs : "${name}-dead-letters" => {
      metric  = merge(local.ours[name], { name = "DeadLetters", statistic = "Sum" })
      period  = 300
      periods = 1
      compare = local.at_least
      limit   = var.thresholds.dead_letters
      missing = "notBreaching" # no run, no letters
      tell    = "compact of ${one.table} could not take in records: they are dead letters, and the log may lack changes. dynalake dead-letters says why; dynalake redrive brings in what can be mended."
    } if one.job == "compact"
  }

  found = {
    for pair in setproduct(sort([for name, one in local.jobs : name if one.job == "verify"]), ["Differing", "Unproven"]) :
    "${pair[0]}-${lower(pair[1])}" => {
      metric  = merge(local.ours[pair[0]], { name = pair[1], statistic = "Maximum" })
      period  = 300
      periods = 1
      compare = local.at_least
      limit   = var.thresholds[lower(pair[1])]
      missing = "ignore" # it stays as the last verify found it, until another one finds otherwise
      tell = {
        Differing = "the lake differs from ${local.jobs[pair[0]].table}. dynalake status names items; verify --repair mends them. Look first whether compact runs, and for dead letters."
        Unproven  = "items of ${local.jobs[pair[0]].table} could not be proven, as they changed all the while. Run verify again, or with a longer --wait."
      }[pair[1]]
    }
  }

  # In each of two periods as long as the limit the table was written to, and the newest change in the log never was younger than that: what was written in
  # the first had the second to arrive. A table at rest has a log that grows old, and says nothing.
  behind = {
    for name, one in local.jobs : "${name}-behind" => {
      math = "IF(FILL(written, 0) > 0, age, 0)"
      of = {
        age     = merge(local.ours[name], { name = "NewestChangeAge", statistic = "Minimum" })
        written = { namespace = "AWS/DynamoDB", dimensions = { TableName = one.table }, name = "ConsumedWriteCapacityUnits", statistic = "Sum" }
      }
      period  = var.thresholds.newest_change_age_seconds
      periods = 2
      compare = local.above
      limit   = var.thresholds.newest_change_age_seconds
      missing = "ignore" # compact did not run, which is told by not-run. Of alarms on DynamoDB's metrics CloudWatch keeps the state, whatever is said (PutMetricAlarm)
      tell    = "${one.table} is written to, and the newest change in its log is older than ${var.thresholds.newest_change_age_seconds} s. What is before compact stands still: streaming, Firehose or the consumer (dynalake doctor, and the table's own alarms)."
    } if one.job == "compact" && one.watch_age
  }

  of_group = { namespace = "AWS/Scheduler", dimensions = { ScheduleGroup = aws_scheduler_schedule_group.this.name }, statistic = "Sum" }
  scheduler = {
    starts-refused = {
      metric  = merge(local.of_group, { name = "TargetErrorCount" })
      period  = 900
      periods = 1
      compare = local.at_least
      limit   = var.thresholds.scheduler_errors
      missing = "notBreaching" # said only where there is one
      tell    = "ECS refuses to start jobs. They are tried again for an hour. Look at the rights of role ${local.prefix}-scheduler, and at the account's quota of Fargate."
    }
    starts-dropped = {
      metric  = merge(local.of_group, { name = "InvocationDroppedCount" })
      period  = 300
      periods = 1
      compare = local.at_least
      limit   = 1
      missing = "notBreaching" # said only where there is one
      tell    = "a start of a job was given up. The queue ${local.prefix}-not-started says which and why; the next start does its work."
    }
    starts-untold = {
      metric  = merge(local.of_group, { name = "InvocationsFailedToBeSentToDeadLetterCount" })
      period  = 300
      periods = 1
      compare = local.at_least
      limit   = 1
      missing = "notBreaching" # said only where there is one
      tell    = "a start of a job was given up, and could not be put into the queue ${local.prefix}-not-started. Look at the rights of role ${local.prefix}-scheduler on it and on the key."
    }
    not-started = {
      metric = {
        namespace = "AWS/SQS", dimensions = { QueueName = aws_sqs_queue.not_started.name }, name = "ApproximateNumberOfMessagesVisible", statistic = "Maximum"
      }
      period  = 300
      periods = 1
      compare = local.at_least
      limit   = 1
      missing = "notBreaching" # an idle queue says nothing
      tell    = "starts of jobs that were given up lie in the queue ${local.prefix}-not-started, each with its reason. Read and purge it."
    }
  }

  alarms = merge(local.not_run, local.failed, local.dead_letters, local.found, local.behind, local.scheduler)
}

resource "aws_cloudwatch_metric_alarm" "this" {
  for_each = local.alarms

  alarm_name          = "${local.prefix}-${each.key}"
  alarm_description   = "Lake ${var.lake.name}: ${each.value.tell} What to do: docs/playbook.md."
  comparison_operator = each.value.compare
  threshold           = each.value.limit
  evaluation_periods  = each.value.periods
  datapoints_to_alarm = each.value.periods
  treat_missing_data  = each.value.missing
  actions_enabled     = true
  alarm_actions       = [var.lake.alarm_topic_arn]
  ok_actions          = [var.lake.alarm_topic_arn]

  namespace   = try(each.value.metric.namespace, null)
  metric_name = try(each.value.metric.name, null)
  dimensions  = try(each.value.metric.dimensions, null)
  statistic   = try(each.value.metric.statistic, null)
  period      = can(each.value.metric) ? each.value.period : null

  dynamic "metric_query" {
    for_each = can(each.value.math) ? [each.value.math] : []
    content {
      id          = "watched"
      expression  = metric_query.value
      return_data = true
    }
  }

  dynamic "metric_query" {
    for_each = try(each.value.of, {})
    content {
      id          = metric_query.key
      return_data = false
      metric {
        namespace   = metric_query.value.namespace
        metric_name = metric_query.value.name
        dimensions  = metric_query.value.dimensions
        period      = each.value.period
        stat        = metric_query.value.statistic
      }
    }
  }
}
