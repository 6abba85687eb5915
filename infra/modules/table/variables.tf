variable "lake" {
  description = "What modules/lake gives as its output `lake`."
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

variable "table_name" {
  description = "The DynamoDB table. Add it to the lake (`dynalake add-table`), with its masks, before this is applied: records of a table that the lake does not know become dead letters."
  type        = string

  validation {
    condition     = can(regex("^[A-Za-z0-9_.-]{3,255}$", var.table_name))
    error_message = "A table's name, 3 to 255 letters, digits, _, - and dots; not its ARN."
  }
}

variable "name" {
  description = "The table's short name in names of resources. Null: its own, with dots as dashes. With the lake's it has 54 characters at most."
  type        = string
  default     = null
}

variable "table_arn" {
  description = "The table's ARN: backfill and verify may read it."
  type        = string
}

variable "table_stream_arn" {
  description = "The ARN of the table's own stream, which must have new and old images; for the surfaces streams and pipe. A DynamoDB stream bears two readers at a time: with pipe, both are taken."
  type        = string
  default     = null

  validation {
    condition     = (var.surface == "kds") == (var.table_stream_arn == null)
    error_message = "For the surfaces streams and pipe, and for them alone."
  }
}

variable "table_kms_key_arn" {
  description = "The key that the table is encrypted with, where it is one of yours: who reads the table or its stream needs it. Null: a key of AWS'."
  type        = string
  default     = null
}

variable "surface" {
  description = "How changes leave the table. `kds`, into a Kinesis stream of a week: for whatever is written to much, or matters. `streams`, its own stream of 24 hours and a Lambda function: nothing to size, and cheap for a quiet table; but a fault that is not mended in a day loses changes. `pipe`, the same with a fan-out of the changes to sinks by EventBridge."
  type        = string

  validation {
    condition     = contains(["kds", "streams", "pipe"], var.surface)
    error_message = "kds, streams or pipe."
  }
}

variable "paths" {
  description = "By which ways a Kinesis stream lands: `firehose`, `consumer`. Both, unless told: each covers the other's outage and, at TRIM_HORIZON, the consumer what came before Firehose was there, or while it was made anew. A change that lands twice is in the log once. The surfaces streams and pipe have the consumer alone, whatever is said here."
  type        = set(string)
  default     = ["firehose", "consumer"]
  nullable    = false

  validation {
    condition     = length(var.paths) > 0 && length(setsubtract(var.paths, ["firehose", "consumer"])) == 0
    error_message = "firehose, consumer, or both."
  }
}

variable "package" {
  description = "Path of dist/capture-python3.X-ARCH.zip, which `make package` builds. Null only where nothing runs it: Firehose alone, without the transformation."
  type        = string
  default     = null

  validation {
    condition     = var.package != null || !(local.has_consumer || var.transform)
    error_message = "The consumer and the transformation run it: name the zip."
  }
}

variable "secret_arn" {
  description = "The secret of the lake's masks in Secrets Manager, as `[masks] secret` of lake.toml names it; null where the lake has none. The same for every table of a lake."
  type        = string
  default     = null
}

variable "secret_kms_key_arn" {
  description = "The key of that secret, where it is another than the lake's."
  type        = string
  default     = null
}

variable "poison_queue_arn" {
  description = "The queue that `[poison] queue_url` of lake.toml names; null where it names none."
  type        = string
  default     = null
}

variable "transform" {
  description = "Whether Firehose runs our transformation. A lake with masks needs it (modules/stream refuses another)."
  type        = bool
  default     = false
  nullable    = false
}

variable "stream_mode" {
  description = "ON_DEMAND or PROVISIONED: see modules/stream."
  type        = string
  default     = null
}

variable "shards" {
  description = "Shards of a PROVISIONED stream: see modules/stream."
  type        = number
  default     = null
}

variable "retention_hours" {
  description = "How long the Kinesis stream keeps a record: see modules/stream. A DynamoDB stream has 24 hours, whatever is said here."
  type        = number
  default     = 168
  nullable    = false
}

variable "buffer_mb" {
  description = "Firehose's buffer: see modules/stream."
  type        = number
  default     = null
}

variable "buffer_seconds" {
  description = "Firehose's buffer in time: see modules/stream."
  type        = number
  default     = null
}

variable "on_failure" {
  description = "Where batches go that the consumer gives up, `queue` or `bucket`: see modules/consumer. Null: by surface. kds to the queue, for the records stay in the stream for days; the others to the bucket, records and all, for their stream has 24 hours."
  type        = string
  default     = null
}

variable "record_age_seconds" {
  description = "How old a record may get before the consumer gives it up: see modules/consumer, which holds it against the retention."
  type        = number
  default     = null
}

variable "attempts" {
  description = "Tries of a batch that fails: see modules/consumer."
  type        = number
  default     = null
}

variable "batch_size" {
  description = "Records of a batch: see modules/consumer."
  type        = number
  default     = null
}

variable "batch_seconds" {
  description = "How long a batch is waited for: see modules/consumer."
  type        = number
  default     = null
}

variable "parallel" {
  description = "Batches of one shard at once: see modules/consumer."
  type        = number
  default     = null
}

variable "memory_mb" {
  description = "Memory of the consumer: see modules/function."
  type        = number
  default     = null
}

variable "reserved_concurrency" {
  description = "Concurrency reserved for the consumer: see modules/consumer."
  type        = number
  default     = null
}

variable "log_retention_days" {
  description = "How long logs are kept: see modules/function."
  type        = number
  default     = null
}

variable "sinks" {
  description = "Surface pipe: the sinks by name, each with a queue of its own: see modules/fanout. `pattern` is the EventBridge pattern of what it gets; null: all."
  type = map(object({
    pattern            = optional(string)
    attempts           = optional(number)
    visibility_seconds = optional(number)
  }))
  default  = {}
  nullable = false

  validation {
    condition     = (var.surface == "pipe") == (length(var.sinks) > 0)
    error_message = "Sinks are for the surface pipe, which is for sinks."
  }
  validation {
    condition     = !contains(keys(var.sinks), "failures")
    error_message = "No sink may be named failures: that is the consumer's dead-letter queue."
  }
}

variable "pipe_filter" {
  description = "Surface pipe: what reaches the bus at all, as JSON patterns of a pipe's filter; empty: all. The lake gets everything, whatever is said here."
  type        = list(string)
  default     = []
  nullable    = false
}

variable "pipe_input_template" {
  description = "Surface pipe: what of a record becomes the event, where items are too large for the bus: see modules/fanout."
  type        = string
  default     = null
}

variable "thresholds" {
  description = "When alarms tell: see modules/alarms, which gives the reasons. What is left out is as there."
  type = object({
    iterator_age_seconds     = optional(number)
    unreplicated_age_seconds = optional(number)
    freshness_seconds        = optional(number)
    silent_minutes           = optional(number)
    pipe_silent_minutes      = optional(number)
    throttled_minutes        = optional(number)
    failing_minutes          = optional(number)
    concurrency              = optional(number)
    sink_age_seconds         = optional(number)
  })
  default  = {}
  nullable = false
}
