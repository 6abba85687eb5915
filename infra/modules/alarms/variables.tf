variable "lake" {
  description = "The lake: output `lake` of modules/lake. Alarms go to its topic."
  type = object({
    name            = string
    uri             = string
    bucket          = string
    bucket_arn      = string
    prefix          = string
    kms_key_arn     = string
    database        = string
    workgroup       = string
    alarm_topic_arn = string
    role_names      = map(string)
    role_arns       = map(string)
  })
}

variable "name" {
  description = "Short name of the table in names of resources: its name with dots as dashes."
  type        = string

  validation {
    condition     = can(regex("^[A-Za-z0-9_-]{1,100}$", var.name))
    error_message = "name must be 1 to 100 letters, digits, dashes and underscores; expected the table's name with dots as dashes."
  }
}

variable "table_name" {
  description = "Name of the DynamoDB table, which is the value of the dimension TableName."
  type        = string
}

variable "surface" {
  description = "How the table's changes are captured: kds (Kinesis Data Streams for DynamoDB), streams (its native stream) or pipe (its native stream, and an EventBridge Pipe for sinks)."
  type        = string

  validation {
    condition     = contains(["kds", "streams", "pipe"], var.surface)
    error_message = "surface must be kds, streams or pipe."
  }
}

variable "stream_name" {
  description = "Name of the Kinesis stream; null unless the surface is kds."
  type        = string
  default     = null

  validation {
    condition     = (var.stream_name != null) == (var.surface == "kds")
    error_message = "stream_name is the Kinesis stream of surface kds: name it there, and nowhere else. Without it nothing watches the stream's age."
  }
}

variable "firehose_name" {
  description = "Name of the Firehose stream; null where there is none. Only surface kds has one."
  type        = string
  default     = null

  validation {
    condition     = var.firehose_name == null || var.surface == "kds"
    error_message = "firehose_name: Firehose reads a Kinesis stream, so that only surface kds has one."
  }
}

variable "function_names" {
  description = "Names of the Lambda functions by what they are: consumer (behind the event source mapping), transform (of Firehose). Those that there are."
  type        = map(string)
  default     = {}
  nullable    = false

  validation {
    condition     = length(setsubtract(keys(var.function_names), ["consumer", "transform"])) == 0
    error_message = "function_names takes the keys consumer and transform only."
  }

  validation {
    condition     = var.firehose_name != null || contains(keys(var.function_names), "consumer")
    error_message = "Nothing brings the table into the lake: name a Firehose stream, a function \"consumer\", or both."
  }

  validation {
    condition     = var.firehose_name != null || !contains(keys(var.function_names), "transform")
    error_message = "function_names has a transform, but there is no firehose_name that it would transform for."
  }
}

variable "mapping_uuid" {
  description = "UUID of the consumer's event source mapping, which must have metrics_config EventCount. Needed where there is a consumer."
  type        = string
  default     = null

  validation {
    condition     = var.mapping_uuid != null || !contains(keys(var.function_names), "consumer")
    error_message = "mapping_uuid is needed where function_names has a consumer: without it nobody is told that records were given up."
  }
}

variable "record_age_seconds" {
  description = "How old a record may get before the consumer's mapping gives it up (output record_age_seconds of modules/consumer); null where there is no consumer."
  type        = number
  default     = null

  validation {
    condition     = var.record_age_seconds == null ? true : var.thresholds.iterator_age_seconds * 2 <= var.record_age_seconds
    error_message = "thresholds.iterator_age_seconds must be half of record_age_seconds at most: the alarm is to come while there is time to mend what holds records up, not when they are given up."
  }
}

variable "queue_names" {
  description = "Names of dead-letter queues. One message in any of them is an alarm. Names must be known when planning: the argument `name` of a queue is."
  type        = list(string)
  default     = []
  nullable    = false
}

variable "sink_queue_names" {
  description = "Names of the queues that sinks read from (surface pipe; output sink_queue_names of modules/fanout). Alarmed by the age of their oldest message."
  type        = list(string)
  default     = []
  nullable    = false
}

variable "pipe_name" {
  description = "Name of the EventBridge Pipe, which is the name of its event bus too (modules/fanout names both alike). Null unless the surface is pipe."
  type        = string
  default     = null

  validation {
    condition     = (var.pipe_name != null) == (var.surface == "pipe")
    error_message = "pipe_name is the pipe of surface pipe: name it there, and nowhere else."
  }
}

variable "thresholds" {
  description = <<-EOT
    When to tell. Where one is too many (a change that was not replicated, a record given up, a dead letter) there is no
    threshold to set.

    iterator_age_seconds: age of the oldest record not read, by the slowest shard. What is older than the stream's retention is
      lost to its readers: 168 h on Kinesis as modules/stream sets it, 24 h on a native stream, for good. An hour is 25 times what
      a reader in health shows (two minutes and its batch window), and leaves 23 h to act on the shortest.
    unreplicated_age_seconds: age of the oldest change that DynamoDB has not put into the Kinesis stream. It is milliseconds in
      health; at 168 h DynamoDB stops replicating, and what it then leaves out is lost. An hour leaves 167.
    freshness_seconds: age of the oldest record that Firehose holds. It is one buffer (900 s at most) in health; three say that
      two deliveries failed. Firehose tries as long as the stream retains: 168 h.
    silent_minutes: so long written to (in either half of it), and nothing came: streaming, mapping or Firehose is off. Nothing else
      tells of that, for what is off has no metrics. Writes that change nothing make no records either, so that less than an hour
      alarms in vain.
    pipe_silent_minutes: the same of the pipe. Raise it where the pipe's filter lets nothing pass for so long. The native stream
      keeps 24 h.
    throttled_minutes: of the last 15, how many with throttling. Whoever is throttled tries again, so that nothing is lost yet; two
      thirds of the time say that capacity is missing and age will grow.
    failing_minutes: of the last 15, how many with failed invocations or unlanded records. They come again until the record age
      ends; one that passes by itself (a cold S3) takes a minute or two.
    concurrency: concurrent executions of a function: four fifths of what it may have. That is its reserved concurrency, or the
      account's limit, 1,000 unless raised. At the limit it is throttled, and age grows.
    sink_age_seconds: age of a sink queue's oldest message. The queue keeps 14 days; a day leaves 13 to mend the sink.
  EOT
  type = object({
    iterator_age_seconds     = optional(number, 3600)
    unreplicated_age_seconds = optional(number, 3600)
    freshness_seconds        = optional(number, 2700)
    silent_minutes           = optional(number, 60)
    pipe_silent_minutes      = optional(number, 60)
    throttled_minutes        = optional(number, 10)
    failing_minutes          = optional(number, 5)
    concurrency              = optional(number, 800)
    sink_age_seconds         = optional(number, 86400)
  })
  default  = {}
  nullable = false

  validation {
    condition     = var.thresholds.iterator_age_seconds >= 60 && var.thresholds.iterator_age_seconds <= 43200
    error_message = "thresholds.iterator_age_seconds must be 60 to 43200: half of the 24 h of a native stream must be left to act."
  }

  validation {
    condition     = var.thresholds.unreplicated_age_seconds >= 60 && var.thresholds.unreplicated_age_seconds <= 302400
    error_message = "thresholds.unreplicated_age_seconds must be 60 to 302400: half of the 168 h until DynamoDB stops must be left to act."
  }

  validation {
    condition     = var.thresholds.freshness_seconds >= 60 && var.thresholds.freshness_seconds <= 43200
    error_message = "thresholds.freshness_seconds must be 60 to 43200: more than Firehose's buffer, and half a day at most."
  }

  validation {
    condition = alltrue([
      for minutes in [var.thresholds.silent_minutes, var.thresholds.pipe_silent_minutes] :
      minutes >= 10 && minutes <= 720 && minutes % 2 == 0
    ])
    error_message = "thresholds.silent_minutes and pipe_silent_minutes must be even, 10 to 720: CloudWatch counts whole minutes of two halves, and a native stream keeps 24 h."
  }

  validation {
    condition = alltrue([
      for minutes in [var.thresholds.throttled_minutes, var.thresholds.failing_minutes] :
      minutes >= 1 && minutes <= 15 && floor(minutes) == minutes
    ])
    error_message = "thresholds.throttled_minutes and failing_minutes must be whole, 1 to 15: they are minutes of the last 15."
  }

  validation {
    condition     = var.thresholds.concurrency >= 1
    error_message = "thresholds.concurrency must be 1 or more."
  }

  validation {
    condition     = var.thresholds.sink_age_seconds >= 60 && var.thresholds.sink_age_seconds <= 604800
    error_message = "thresholds.sink_age_seconds must be 60 to 604800: half of the 14 days that the queue keeps must be left to act."
  }
}
