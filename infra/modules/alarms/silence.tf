# What is switched off has no metrics and raises no alarm of its own. So each stage is held against the one before it: something
# went in there, and nothing came out here, for as long as `silent_minutes`. FILL makes a stage that says nothing say zero.

locals {
  silent = "IF(FILL(before, 0) > 0 AND FILL(after, 0) < 1, 1, 0)"

  writes = {
    namespace = "AWS/DynamoDB", name = "ConsumedWriteCapacityUnits", dimensions = { TableName = var.table_name }, statistic = "Sum"
  }
  incoming    = { namespace = "AWS/Kinesis", name = "IncomingRecords", dimensions = local.kinesis, statistic = "Sum" }
  invocations = { namespace = "AWS/Lambda", name = "Invocations", dimensions = { FunctionName = local.functions.consumer }, statistic = "Sum" }

  silence = {
    capture-silent = {
      when    = local.has_stream
      minutes = var.thresholds.silent_minutes
      metrics = { before = local.writes, after = local.incoming }
      tell    = "the table is written to, and nothing comes into the Kinesis stream. Is streaming still ACTIVE? Changes while it is off are lost to the log; dynalake doctor tells, backfill --again --prune mends the state."
    }
    consumer-silent = {
      when    = local.has_consumer
      minutes = var.thresholds.silent_minutes
      metrics = { before = local.has_stream ? local.incoming : local.writes, after = local.invocations }
      tell    = "records come, and the consumer is not invoked. Is its event source mapping enabled? What is older than the stream's retention (24 h of a native stream) is lost to it."
    }
    firehose-silent = {
      when    = local.has_firehose
      minutes = var.thresholds.silent_minutes
      metrics = {
        before = local.incoming
        after = {
          namespace = "AWS/Firehose", name = "DataReadFromKinesisStream.Records", dimensions = local.delivery, statistic = "Sum"
        }
      }
      tell = "records come, and Firehose reads none. Look at its role and at the stream's key. What is older than the stream's retention is lost to it."
    }
    pipe-silent = {
      when    = local.has_pipe
      minutes = var.thresholds.pipe_silent_minutes
      metrics = {
        before = local.writes
        after  = { namespace = "AWS/EventBridge/Pipes", name = "Invocations", dimensions = local.pipe, statistic = "Sum" }
      }
      tell = "the table is written to, and the pipe passes nothing on: it was stopped, its stream was replaced, or its filter lets nothing pass. Sinks miss what the stream does not keep (24 h). Fill them from the lake."
    }
  }

  watched_silence = {
    for name, one in local.silence : name => {
      when    = one.when
      math    = local.silent
      metrics = one.metrics
      # Two halves, in each of which something went in: a write just before the end of one may arrive in the next.
      period  = one.minutes * 30
      of      = [2, 2]
      compare = [local.at_least, 1]
      # Neither stage says anything. The table may have become quiet with the stage still off: that is over when something
      # comes through it.
      missing = "ignore"
      tell    = "for ${one.minutes} minutes ${one.tell}"
    }
  }
}
