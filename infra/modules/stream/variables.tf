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
    condition     = can(regex("^[A-Za-z0-9_-]+$", var.name)) && length("${var.lake.name}-${var.name}") <= 55
    error_message = "Letters, digits, - and _, and with the lake's name no more than 54 characters: roles get a suffix and have 64."
  }
}

variable "table_name" {
  description = "The DynamoDB table. It may feed one Kinesis stream; of the same account and Region."
  type        = string
}

variable "stream_mode" {
  description = "ON_DEMAND follows the writes, up to twice the highest peak of the last 30 days within 15 minutes; PROVISIONED is cheaper for an even load that is known (`dynalake size`). Too few shards do not lose changes at once: DynamoDB holds them back (ThrottledPutRecordCount, AgeOfOldestUnreplicatedRecord), and switches replication off after 168 hours."
  type        = string
  default     = "ON_DEMAND"
  nullable    = false

  validation {
    condition     = contains(["ON_DEMAND", "PROVISIONED"], var.stream_mode)
    error_message = "ON_DEMAND or PROVISIONED."
  }
}

variable "shards" {
  description = "Shards of a PROVISIONED stream. Each takes 1 MB or 1,000 records a second, and gives 2 MB a second to all that read it together: Firehose and the consumer read it once each, so a shard that is full leaves neither of them anything to catch up with. Half full is full enough."
  type        = number
  default     = null

  validation {
    condition     = var.stream_mode == "PROVISIONED" ? var.shards != null : var.shards == null
    error_message = "A number where stream_mode is PROVISIONED, none where it is ON_DEMAND."
  }
}

variable "retention_hours" {
  description = "How long the stream keeps a record: the time there is to mend what keeps records from landing. A week outlasts a long weekend and DynamoDB's own 168 hours; what a consumer gives up in between is read again from here by `redrive`. Made shorter, it takes away at once what is older. Less than 72 hours would not outlast a weekend."
  type        = number
  default     = 168
  nullable    = false

  validation {
    condition     = var.retention_hours >= 72 && var.retention_hours <= 8760
    error_message = "From 72 to 8760: with less, a fault on a Friday evening is lost on Monday."
  }
}

variable "firehose" {
  description = "Whether Firehose lands the stream. It begins at the stream's end: made later than streaming was enabled, or made anew, it misses what came before. A consumer beside it, at TRIM_HORIZON, covers that; what lands twice is in the log once."
  type        = bool
  default     = true
  nullable    = false
}

variable "transform" {
  description = "Whether Firehose runs our transformation, which takes out what masks say and notes where a record comes from. A lake with masks (secret_arn) needs it: without, values would land as they are, and compact would take none of these records."
  type        = bool
  default     = false
  nullable    = false

  validation {
    condition     = var.transform || !var.firehose || var.secret_arn == null
    error_message = "A lake with masks needs the transformation: without it Firehose lands what a mask is for."
  }
  validation {
    condition     = !var.transform || (var.firehose && var.package != null)
    error_message = "A transformation needs Firehose and the package."
  }
}

variable "package" {
  description = "Path of capture-python3.X-ARCH.zip, for the transformation."
  type        = string
  default     = null
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

variable "buffer_mb" {
  description = "Firehose writes an object when so much has come, before compression. Large, for compact reads few large objects faster than many small ones."
  type        = number
  default     = 128
  nullable    = false

  validation {
    condition     = var.buffer_mb >= 64 && var.buffer_mb <= 128
    error_message = "From 64 to 128, which is Firehose's most."
  }
}

variable "buffer_seconds" {
  description = "Or after so long: it bounds how fresh the lake can be by way of Firehose. Five minutes are what compact runs by."
  type        = number
  default     = 300
  nullable    = false

  validation {
    condition     = var.buffer_seconds >= 60 && var.buffer_seconds <= 900
    error_message = "From 60 to 900, which is Firehose's most: below a minute it writes too many objects."
  }
}

variable "transform_buffer_mb" {
  description = "Bytes of records for one call of the transformation. Lambda takes and gives 6 MB. A record grows by a third in base64 and brings some 450 bytes beside it, and may be as small as 300 bytes: 1 MB of such is 2.9 MB of request, where 3 MB, Firehose's most, would be 8.6."
  type        = number
  default     = 1
  nullable    = false

  validation {
    condition     = var.transform_buffer_mb >= 0.2 && var.transform_buffer_mb <= 1.5
    error_message = "From 0.2 to 1.5: with more, a batch of small records is larger than the 6 MB that Lambda takes, and fails whole."
  }
}

variable "transform_buffer_seconds" {
  description = "Or after so long."
  type        = number
  default     = 60
  nullable    = false

  validation {
    condition     = var.transform_buffer_seconds >= 10 && var.transform_buffer_seconds <= 300
    error_message = "From 10 to 300 seconds."
  }
}

variable "transform_retries" {
  description = "Tries of a batch that the transformation could not be called for, or failed. After the last, Firehose puts the whole batch, good records in it and all unmasked, under its error prefix, from where `redrive --from` takes it: nothing is lost, but few may read there, so rather try often. Each try takes five minutes at most: 60 are five hours, far below any retention."
  type        = number
  default     = 60
  nullable    = false

  validation {
    condition     = var.transform_retries >= 3 && var.transform_retries <= 300
    error_message = "From 3, which is Firehose's own, to 300, which is its most."
  }
}

variable "transform_concurrency" {
  description = "Concurrency reserved for the transformation; null: it shares the account's."
  type        = number
  default     = null
}

variable "log_retention_days" {
  description = "How long logs of Firehose and the transformation are kept."
  type        = number
  default     = 365
  nullable    = false
}
