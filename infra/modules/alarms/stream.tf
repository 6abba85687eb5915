# From the table into the Kinesis stream, and what its readers leave unread. Surface kds only.
#
# DynamoDB's three metrics have the dimensions TableName and DelegatedOperation, and AWS does not say which values the latter
# takes. So they are asked for by CloudWatch's SQL, which needs none ("Create a CloudWatch alarm based on a Metrics Insights
# query"). An account may have 200 such alarms in a Region, so that some 60 tables fit until AWS raises it.
#
# An alarm on AWS/DynamoDB stays in its state while there is no data, whatever it says that missing data mean (PutMetricAlarm,
# TreatMissingData): where nothing more is said, it stays raised after it is over, and cannot be raised a second time.

locals {
  replication = {
    for metric, function in {
      AgeOfOldestUnreplicatedRecord = "MAX"
      FailedToReplicateRecordCount  = "SUM"
      ThrottledPutRecordCount       = "MAX"
    } :
    metric => "SELECT ${function}(${metric}) FROM SCHEMA(\"AWS/DynamoDB\", DelegatedOperation, TableName) WHERE TableName = '${var.table_name}'"
  }

  kinesis = { StreamName = local.has_stream ? var.stream_name : "" }

  watched_stream = {
    iterator-age = {
      when = local.has_stream
      # The maximum over all shards and readers, so that the slowest shard raises it.
      metric = {
        namespace = "AWS/Kinesis", name = "GetRecords.IteratorAgeMilliseconds", dimensions = local.kinesis, statistic = "Maximum"
      }
      period  = 60
      of      = [5, 5]
      compare = [local.at_least, var.thresholds.iterator_age_seconds * 1000]
      # Readers ask several times a minute, also where nothing comes: no data means that nobody reads.
      missing = "breaching"
      tell    = "records of the Kinesis stream wait ${var.thresholds.iterator_age_seconds} s or longer, or nobody reads it. What is older than the stream's retention is lost to its readers. Which shard: the dashboard."
    }

    unreplicated-age = {
      when    = local.has_stream
      query   = local.replication["AgeOfOldestUnreplicatedRecord"]
      period  = 60
      of      = [5, 5]
      compare = [local.at_least, var.thresholds.unreplicated_age_seconds * 1000]
      # A table that is not written to has nothing to replicate.
      missing = "notBreaching"
      tell    = "DynamoDB has not put changes into the Kinesis stream for ${var.thresholds.unreplicated_age_seconds} s (AgeOfOldestUnreplicatedRecord). At 168 h it stops, and what it leaves out is lost. Look at the stream's shards, its key and its policy."
    }

    failed-to-replicate = {
      when    = local.has_stream
      query   = local.replication["FailedToReplicateRecordCount"]
      period  = 60
      of      = [1, 1]
      compare = [local.at_least, 1]
      # It is told when it happens, and then it is over.
      missing = "notBreaching"
      tell    = "DynamoDB left out a change because its record is too large for the stream (FailedToReplicateRecordCount). It is gone for good. dynalake verify names the item, repair reads it again. If this alarm stays raised after that, set it to OK (aws cloudwatch set-alarm-state): it cannot tell of the next one before."
    }

    put-throttled = {
      when    = local.has_stream
      query   = local.replication["ThrottledPutRecordCount"]
      period  = 60
      of      = [var.thresholds.throttled_minutes, 15]
      compare = [local.at_least, 1]
      # Nothing was put, or nothing was throttled.
      missing = "notBreaching"
      tell    = "the Kinesis stream throttles DynamoDB (ThrottledPutRecordCount). It tries again for 168 h. Add shards; see dynalake size."
    }

    write-throttled = {
      when = local.has_stream
      metric = {
        namespace = "AWS/Kinesis", name = "WriteProvisionedThroughputExceeded", dimensions = local.kinesis, statistic = "Sum"
      }
      period  = 60
      of      = [var.thresholds.throttled_minutes, 15]
      compare = [local.at_least, 1]
      # No write was refused.
      missing = "notBreaching"
      tell    = "a shard of the Kinesis stream takes no more (1 MB or 1,000 records a second). DynamoDB tries again for 168 h. Add shards, or let the stream be on demand."
    }

    read-throttled = {
      when = local.has_stream
      metric = {
        namespace = "AWS/Kinesis", name = "ReadProvisionedThroughputExceeded", dimensions = local.kinesis, statistic = "Sum"
      }
      period  = 60
      of      = [var.thresholds.throttled_minutes, 15]
      compare = [local.at_least, 1]
      # No read was refused.
      missing = "notBreaching"
      tell    = "readers of the Kinesis stream are throttled: a shard gives 2 MB and five reads a second to all of them. They fall behind. Take one away, or add shards."
    }
  }
}
