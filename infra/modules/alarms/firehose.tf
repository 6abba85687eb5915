# From the Kinesis stream into raw/, by Firehose.

locals {
  delivery = { DeliveryStreamName = local.has_firehose ? var.firehose_name : "" }

  watched_firehose = {
    firehose-freshness = {
      when    = local.has_firehose
      metric  = { namespace = "AWS/Firehose", name = "DeliveryToS3.DataFreshness", dimensions = local.delivery, statistic = "Maximum" }
      period  = 300
      of      = [2, 2]
      compare = [local.at_least, var.thresholds.freshness_seconds]
      # It holds nothing. That it reads nothing is told by firehose-silent.
      missing = "notBreaching"
      tell    = "Firehose holds records of ${var.thresholds.freshness_seconds} s ago. It tries as long as the stream retains them. Look at its log group: rights on the bucket, the key, the transformation."
    }

    firehose-failed = {
      when    = local.has_firehose
      metric  = { namespace = "AWS/Firehose", name = "DeliveryToS3.Success", dimensions = local.delivery, statistic = "Average" }
      period  = 900
      of      = [2, 2]
      compare = [local.below, 1]
      # Nothing was delivered because nothing was there.
      missing = "notBreaching"
      tell    = "puts of Firehose into the bucket failed for half an hour (DeliveryToS3.Success). It tries as long as the stream retains. Look at its log group."
    }

    firehose-transform = {
      when    = local.has_transform
      metric  = { namespace = "AWS/Firehose", name = "ExecuteProcessing.Success", dimensions = local.delivery, statistic = "Average" }
      period  = 300
      of      = [1, 1]
      compare = [local.below, 1]
      # Nothing was transformed because nothing was there.
      missing = "notBreaching"
      tell    = "the transformation failed (ExecuteProcessing.Success). Firehose tries a batch again (transform_retries), then puts it whole, unmasked, under firehose-errors/, and no other metric tells of that. Look there; dynalake redrive --from brings it in."
    }
  }
}
