# From the native stream to sinks, by way of a pipe and an event bus of the same name. Surface pipe only. The lake does not rest
# on it: what a sink misses can be filled from there.

locals {
  pipe = { PipeName = local.has_pipe ? var.pipe_name : "" }

  # All rules of the bus at once, so that a sink that is added needs no alarm of its own.
  rules = {
    for metric in ["FailedInvocations", "InvocationsFailedToBeSentToDlq"] :
    metric => "SELECT SUM(${metric}) FROM SCHEMA(\"AWS/Events\", EventBusName, RuleName) WHERE EventBusName = '${local.pipe.PipeName}'"
  }

  watched_pipe = merge({
    for name, one in {
      pipe-failed = {
        metric = "ExecutionFailed"
        tell   = "executions of the pipe fail: its role, the bus, the key, or an event that is too large. They are tried again, then told to its dead-letter queue; where rights are missing for long, the pipe is switched off."
      }
      pipe-partly-failed = {
        metric = "ExecutionPartiallyFailed"
        tell   = "the event bus takes some events of the pipe and refuses others. They are tried again, then told to its dead-letter queue."
      }
      pipe-timeout = {
        metric = "ExecutionTimeout"
        tell   = "executions of the pipe run out of time. They are tried again, then told to its dead-letter queue."
      }
      pipe-throttled = {
        metric  = "ExecutionThrottled"
        minutes = var.thresholds.throttled_minutes
        tell    = "the pipe is throttled, by the account's quota of concurrent executions. It falls behind; the stream keeps 24 h."
      }
    } :
    name => {
      when    = local.has_pipe
      metric  = { namespace = "AWS/EventBridge/Pipes", name = one.metric, dimensions = local.pipe, statistic = "Sum" }
      period  = 60
      of      = [try(one.minutes, var.thresholds.failing_minutes), 15]
      compare = [local.at_least, 1]
      # A pipe that was switched off after its failures says nothing more: the alarm stays until one succeeds.
      missing = "ignore"
      tell    = one.tell
    }
    },
    {
      sinks-undelivered = {
        when    = local.has_pipe
        query   = local.rules["FailedInvocations"]
        period  = 60
        of      = [1, 1]
        compare = [local.at_least, 1]
        # It is only told where it is not zero.
        missing = "notBreaching"
        tell    = "events could not be delivered to a sink's queue, for good. They are in the dead-letter queue of undelivered events: look at ERROR_CODE among a message's attributes."
      }

      sinks-lost = {
        when    = local.has_pipe
        query   = local.rules["InvocationsFailedToBeSentToDlq"]
        period  = 60
        of      = [1, 1]
        compare = [local.at_least, 1]
        # It is only told where it is not zero.
        missing = "notBreaching"
        tell    = "events could be delivered neither to a sink's queue nor to the dead-letter queue. They are lost to the sink: fill it from the lake. Look at the queues' policies and the key's."
      }
  })
}
