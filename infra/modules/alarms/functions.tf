# The Lambda functions, the consumer's event source mapping, and what our handlers say of themselves.

locals {
  watched_functions = merge([
    for role, has in { consumer = local.has_consumer, transform = local.has_transform } : {
      "${role}-errors" = {
        when = has
        metric = {
          namespace = "AWS/Lambda", name = "Errors", dimensions = { FunctionName = local.functions[role] }, statistic = "Sum"
        }
        period  = 60
        of      = [var.thresholds.failing_minutes, 15]
        compare = [local.at_least, 1]
        # It was not invoked. That it should have been is told by consumer-silent or firehose-freshness.
        missing = "notBreaching"
        tell    = "the function ${role} fails: no lake, no rights, no time, no memory. Its batches come again until they are given up. Its log group says why."
      }

      "${role}-throttled" = {
        when = has
        metric = {
          namespace = "AWS/Lambda", name = "Throttles", dimensions = { FunctionName = local.functions[role] }, statistic = "Sum"
        }
        period  = 60
        of      = [var.thresholds.throttled_minutes, 15]
        compare = [local.at_least, 1]
        # It was not invoked.
        missing = "notBreaching"
        tell    = "the function ${role} is throttled: its reserved concurrency or the account's is used up. It falls behind."
      }

      "${role}-concurrency" = {
        when = has
        metric = {
          namespace = "AWS/Lambda", name = "ConcurrentExecutions", dimensions = { FunctionName = local.functions[role] }, statistic = "Maximum"
        }
        period  = 60
        of      = [5, 15]
        compare = [local.at_least, var.thresholds.concurrency]
        # It did not run.
        missing = "notBreaching"
        tell    = "the function ${role} runs ${var.thresholds.concurrency} times at once or more, which is near its limit. Beyond it, it is throttled."
      }
    }
  ]...)

  mapping  = { EventSourceMappingUUID = var.mapping_uuid }
  captured = { Stream = local.stream_dimension }

  watched_mapping = {
    consumer-age = {
      when = local.has_consumer
      metric = {
        namespace = "AWS/Lambda", name = "IteratorAge", dimensions = { FunctionName = local.functions.consumer }, statistic = "Maximum"
      }
      period  = 60
      of      = [5, 5]
      compare = [local.at_least, var.thresholds.iterator_age_seconds * 1000]
      # It is told with each invocation, and a quiet stream has none. That there should be some is told by consumer-silent.
      missing = "notBreaching"
      tell    = "the consumer is ${var.thresholds.iterator_age_seconds} s or more behind its stream. What is older than the mapping's record age is given up, and what is older than the stream's retention is gone."
    }

    given-up = {
      when = local.has_consumer
      metric = {
        namespace = "AWS/Lambda", name = "OnFailureDestinationDeliveredEventCount", dimensions = local.mapping, statistic = "Sum"
      }
      period  = 60
      of      = [1, 1]
      compare = [local.at_least, 1]
      # It is told when it happens.
      missing = "notBreaching"
      tell    = "records were given up by the consumer's mapping, and told to its on-failure destination. dynalake redrive --queue or --from brings them in, while the stream still has them."
    }

    dropped = {
      when    = local.has_consumer
      metric  = { namespace = "AWS/Lambda", name = "DroppedEventCount", dimensions = local.mapping, statistic = "Sum" }
      period  = 60
      of      = [1, 1]
      compare = [local.at_least, 1]
      # It is told when it happens.
      missing = "notBreaching"
      tell    = "records were dropped by the consumer's mapping without a trace. They are lost to it; dynalake verify names the items. Is there an on-failure destination, and may the role write to it?"
    }

    destination-failed = {
      when = local.has_consumer
      metric = {
        namespace = "AWS/Lambda", name = "DestinationDeliveryFailures", dimensions = { FunctionName = local.functions.consumer }, statistic = "Sum"
      }
      period  = 60
      of      = [1, 1]
      compare = [local.at_least, 1]
      # It is told when it happens.
      missing = "notBreaching"
      tell    = "records were given up, and could not be told to the on-failure destination. They are lost to the consumer. Look at its role's rights on queue, bucket and key; dynalake verify names the items."
    }

    dead-letters = {
      when    = length(var.function_names) > 0
      metric  = { namespace = "dynalake", name = "DeadLetters", dimensions = local.captured, statistic = "Sum" }
      period  = 60
      of      = [1, 1]
      compare = [local.at_least, 1]
      # Nothing came.
      missing = "notBreaching"
      tell    = "records came that cannot be taken in. They are kept: dynalake dead-letters shows why, redrive brings them in once that is mended."
    }

    unlanded = {
      when    = length(var.function_names) > 0
      metric  = { namespace = "dynalake", name = "Unlanded", dimensions = local.captured, statistic = "Sum" }
      period  = 60
      of      = [var.thresholds.failing_minutes, 15]
      compare = [local.at_least, 1]
      # Nothing came.
      missing = "notBreaching"
      tell    = "records cannot be written into the lake. They come again until the record age ends. Look at the function's log: S3, the key, throttling."
    }
  }
}
