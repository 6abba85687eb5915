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
    error_message = "Letters, digits, - and _ only: names of functions and queues take no others. Give `name` for a table with dots in its name."
  }
}

variable "role" {
  description = "What the function does: the last part of its name, and of its role's."
  type        = string

  validation {
    condition     = length("${var.lake.name}-${var.name}-${var.role}") <= 64
    error_message = "Names of functions and roles have 64 characters at most. Give a shorter `name`."
  }
}

variable "handler" {
  description = "The handler in the package: the consumer's, or the transformation's. Taken for one another, either refuses what it is given, and nothing lands."
  type        = string

  validation {
    condition     = contains(["ingest.handlers.stream_handler", "ingest.handlers.firehose_handler"], var.handler)
    error_message = "ingest.handlers.stream_handler or ingest.handlers.firehose_handler."
  }
}

variable "package" {
  description = "Path of the zip that `make package` builds, capture-python3.X-ARCH.zip. Runtime and architecture are taken from its name: it holds compiled code, which runs on no others."
  type        = string

  validation {
    condition     = can(regex("(^|/)capture-python3\\.[0-9]+-(x86_64|arm64)\\.zip$", var.package))
    error_message = "A file named capture-python3.X-x86_64.zip or capture-python3.X-arm64.zip, as `make package` builds it."
  }
}

variable "stream_name" {
  description = "The name under which records land, raw/stream=NAME/: that of the Kinesis stream, or of the table whose DynamoDB stream it is. The function may write under no other."
  type        = string
}

variable "secret_arn" {
  description = "The secret of the lake's masks in Secrets Manager, as `[masks] secret` of lake.toml names it; null where the lake has none. Every function of a lake with masks opens it, also for a table without any: dead letters of no known table are sealed with it."
  type        = string
  default     = null
}

variable "secret_kms_key_arn" {
  description = "The key that the secret is encrypted with, where it is another than the lake's. Null: the lake's."
  type        = string
  default     = null
}

variable "poison_queue_arn" {
  description = "The queue that `[poison] queue_url` of lake.toml names, to be told of dead letters; null where it names none. Without the right to send to it the function lands all the same, and says so in its log."
  type        = string
  default     = null
}

variable "memory_mb" {
  description = "A batch is 6 MB at most and takes some 200 MB at work; CPU grows with memory, and at 1,024 MB a full batch is done in a few seconds."
  type        = number
  default     = 1024
  nullable    = false

  validation {
    condition     = var.memory_mb >= 256 && var.memory_mb <= 10240
    error_message = "From 256 to 10240: with less, a full batch of 6 MB may not fit, and fails each time it is brought."
  }
}

variable "timeout_seconds" {
  description = "One request to S3 is tried for up to about a minute before it is a failure, and a batch makes a few (lake.toml, dead letters, the object). A timeout below that would cut off what is about to succeed. Firehose waits for five minutes at most."
  type        = number
  default     = 300
  nullable    = false

  validation {
    condition     = var.timeout_seconds >= 120 && var.timeout_seconds <= 900
    error_message = "From 120 to 900: below two minutes a slow S3 becomes a failure of the function."
  }
}

variable "reserved_concurrency" {
  description = "Concurrent runs kept for this function, and its most; null: it shares the account's. Too few throttle it: then its records wait in the stream, which loses nothing until they are too old. 0 would stop it."
  type        = number
  default     = null

  validation {
    condition     = var.reserved_concurrency == null ? true : var.reserved_concurrency >= 1
    error_message = "1 or more: 0 stops the function, and its records get too old."
  }
}

variable "log_retention_days" {
  description = "How long logs are kept. They tell of faults and carry metrics, never values of items. A year lets an incident be looked at after it was noticed late."
  type        = number
  default     = 365
  nullable    = false

  validation {
    condition     = contains([30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653], var.log_retention_days)
    error_message = "One of the periods that CloudWatch Logs has, 30 days or more."
  }
}
