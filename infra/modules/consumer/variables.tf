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

variable "name" {
  description = "The table's short name in names of resources."
  type        = string

  validation {
    condition     = can(regex("^[A-Za-z0-9_-]+$", var.name))
    error_message = "Letters, digits, - and _ only."
  }
}

variable "kind" {
  description = "What is read: `kinesis`, a Kinesis stream that DynamoDB streams into, or `dynamodb`, a table's own DynamoDB stream, with new and old images."
  type        = string

  validation {
    condition     = contains(["kinesis", "dynamodb"], var.kind)
    error_message = "kinesis or dynamodb."
  }
}

variable "stream_arn" {
  description = "The stream's ARN. A DynamoDB stream bears at most two readers at a time: this one, and one more."
  type        = string
}

variable "stream_name" {
  description = "The name under which records land, raw/stream=NAME/: the Kinesis stream's; of a DynamoDB stream, its table's."
  type        = string
}

variable "stream_kms_key_arn" {
  description = "The key that the stream is encrypted with. Of a Kinesis stream, null is the lake's; of a DynamoDB stream, give the table's where that is a key of yours, null otherwise."
  type        = string
  default     = null
}

variable "package" {
  description = "Path of capture-python3.X-ARCH.zip, as `make package` builds it."
  type        = string
}

variable "secret_arn" {
  description = "The secret of the lake's masks; null where it has none. See modules/function."
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

variable "retention_hours" {
  description = "How long the stream keeps a record. A DynamoDB stream: 24, which cannot be changed."
  type        = number

  validation {
    condition     = var.kind == "kinesis" || var.retention_hours == 24
    error_message = "24 for a DynamoDB stream."
  }
}

variable "record_age_seconds" {
  description = "How old a record may get before the mapping gives it up, to the on-failure destination, and goes on. A batch that does not land comes again. Where the function is throttled, or Lambda has trouble: until this age, and it is no attempt. Where S3 or KMS do not answer, the function names the batch's lowest record, and where it may not write, finds no lake or no secret, it fails, as its Errors tell: `attempts` times. Poison it sets aside as a dead letter, which does not come again. At the end of either bound the batch's range (to a queue) or all of it (to a bucket) is at the destination, an alarm says so, and `redrive` lands it. A record that leaves the stream before is gone without a word: so this age must end well before the retention does, and the mapping refuses another. Null: a day to a queue, 12 hours to a bucket, so that a night's outage mends itself."
  type        = number
  default     = null

  validation {
    condition     = coalesce(var.record_age_seconds, 3600) >= 3600
    error_message = "An hour or more: a short outage would be given up that mends itself."
  }
}

variable "on_failure" {
  description = "Where batches go that are given up. `queue`: their ranges, while the records stay in the stream; for a stream of days. `bucket`: the records too, under aws/lambda/<mapping> of the lake's bucket, unmasked; for a stream of 24 hours. A bucket that cannot be written to is often why they failed: then Lambda cannot give them up there either (DestinationDeliveryFailures), which a queue does not suffer. Alarms on the age of the oldest record come hours before."
  type        = string

  validation {
    condition     = contains(["queue", "bucket"], var.on_failure)
    error_message = "queue or bucket."
  }
}

variable "attempts" {
  description = "Tries of a batch for which the function was called and failed, or said that it could not land it. Finite, so that a batch that kills the function each time does not block its shard until the age limit; many, so that an outage of a while mends itself. Neither throttles nor splits count. When the function fails, its batch is split in two, down to the record that is to blame."
  type        = number
  default     = 100
  nullable    = false

  validation {
    condition     = var.attempts >= 10 && var.attempts <= 10000
    error_message = "From 10 to 10000, which is Lambda's most: few tries give up what a throttle of S3 holds up for a minute; -1 would try for ever."
  }
}

variable "batch_size" {
  description = "Records of a batch, at most; each batch becomes an object. Lambda takes 10,000, or 6 MB."
  type        = number
  default     = 5000
  nullable    = false

  validation {
    condition     = var.batch_size >= 100 && var.batch_size <= 10000
    error_message = "From 100 to 10000: with less, objects become too many and too small."
  }
}

variable "batch_seconds" {
  description = "How long Lambda waits for a batch to become full: it bounds freshness by this way, and the number of objects."
  type        = number
  default     = 30
  nullable    = false

  validation {
    condition     = var.batch_seconds >= 1 && var.batch_seconds <= 300
    error_message = "From 1 to 300: at 0 every read of a shard that finds something is an object."
  }
}

variable "parallel" {
  description = "Batches of one shard at once. Order does not matter to the lake; each keeps an item's changes together. More than one where a batch takes longer than it takes to come."
  type        = number
  default     = 1
  nullable    = false

  validation {
    condition     = var.parallel >= 1 && var.parallel <= 10
    error_message = "From 1 to 10."
  }
}

variable "visibility_seconds" {
  description = "How long a message of the dead-letter queue is out of sight once `redrive` has received it. It deletes a message when all of its records have landed: to read ten ranges again takes minutes, and a message that comes back meanwhile ends the run early. What stays is put into sight at the end."
  type        = number
  default     = 3600
  nullable    = false

  validation {
    condition     = var.visibility_seconds >= 900 && var.visibility_seconds <= 43200
    error_message = "From 900 to 43200 seconds, which is SQS' most."
  }
}

variable "memory_mb" {
  description = "Memory of the function. See modules/function."
  type        = number
  default     = 1024
  nullable    = false
}

variable "timeout_seconds" {
  description = "Time of a batch. See modules/function."
  type        = number
  default     = 300
  nullable    = false
}

variable "reserved_concurrency" {
  description = "Concurrency reserved for the function; null: it shares the account's. It needs as many as the stream has shards, times `parallel`; with fewer, shards wait for each other."
  type        = number
  default     = null
}

variable "log_retention_days" {
  description = "How long the function's logs are kept."
  type        = number
  default     = 365
  nullable    = false
}
