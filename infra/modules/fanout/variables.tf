variable "lake" {
  description = "The lake: output `lake` of modules/lake. Its key encrypts bus, queues and log; the key's policy must let events.amazonaws.com describe it, generate data keys and decrypt."
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

  validation {
    condition     = contains(keys(var.lake.role_arns), "redrive") && contains(keys(var.lake.role_names), "redrive")
    error_message = "lake has no role redrive: it alone may read the dead-letter queues."
  }
}

variable "name" {
  description = "Short name of the table in names of resources: its name with dots as dashes."
  type        = string

  validation {
    condition     = can(regex("^[A-Za-z0-9_-]+$", var.name)) && length("${var.lake.name}-${var.name}") <= 59
    error_message = "name must be letters, digits, dashes and underscores, and 59 of them at most together with the lake's name: AWS takes 64 for the pipe and its role."
  }
}

variable "table_stream_arn" {
  description = "ARN of the table's native stream, with new and old images. If the stream is switched off and on again it has another ARN, and Terraform makes another pipe: until then sinks miss what happens."
  type        = string

  validation {
    condition     = can(regex("^arn:[a-z-]+:dynamodb:[a-z0-9-]+:[0-9]{12}:table/[A-Za-z0-9_.-]+/stream/", var.table_stream_arn))
    error_message = "table_stream_arn must be the ARN of a DynamoDB stream: arn:aws:dynamodb:REGION:ACCOUNT:table/TABLE/stream/LABEL."
  }
}

variable "table_kms_key_arn" {
  description = "ARN of the customer managed key that the table is encrypted with, which the pipe then must be able to use; null where there is none."
  type        = string
  default     = null
}

variable "sinks" {
  description = <<-EOT
    The sinks, by name. Each gets a queue of its own, so that one that is slow or dead holds up no other.

    A sink must not rely on order, and must bear copies: the bus keeps no order and delivers at least once, and so does a queue.
    Let it keep for each item the greatest detail.dynamodb.SequenceNumber that it has applied, compared as a number (21 to 40
    digits: more than 64 bits), tombstones included, and leave aside what is not greater. A sink that was added later, or missed
    events, is filled from the lake, which rests on none of this.

    pattern: JSON of an EventBridge pattern over the change record, such as {"eventName": ["REMOVE"]}; null takes all.
    attempts: how often a message is handed out before it goes to the sink's dead-letter queue.
    visibility_seconds: how long a message is the reader's own: six times the time-out of a Lambda function that reads it (AWS:
      "Using Lambda with Amazon SQS").
  EOT
  type = map(object({
    pattern            = optional(string)
    attempts           = optional(number, 5)
    visibility_seconds = optional(number, 300)
  }))

  validation {
    condition     = length(var.sinks) > 0
    error_message = "sinks is empty: then surface streams does the same for less."
  }

  validation {
    condition     = alltrue([for name in keys(var.sinks) : can(regex("^[a-z0-9-]{1,15}$", name)) && !contains(["pipe", "undelivered"], name)])
    error_message = "A sink's name must be 1 to 15 small letters, digits and dashes, and neither pipe nor undelivered, which name queues of the module's own."
  }

  validation {
    condition     = alltrue([for sink in values(var.sinks) : sink.pattern == null || can(keys(jsondecode(sink.pattern)))])
    error_message = "A sink's pattern must be a JSON object: an EventBridge pattern over the change record."
  }

  validation {
    condition     = alltrue([for sink in values(var.sinks) : sink.attempts >= 2 && sink.attempts <= 1000])
    error_message = "A sink's attempts must be 2 to 1000: with one, a reader that was stopped in its work sends good messages to the dead letters."
  }

  validation {
    condition     = alltrue([for sink in values(var.sinks) : sink.visibility_seconds >= 0 && sink.visibility_seconds <= 43200])
    error_message = "A sink's visibility_seconds must be 0 to 43200."
  }
}

variable "filter" {
  description = "JSON of pipe filters over the stream's record; a record that any of them takes passes, all others reach no sink. Empty lets all pass. It is cheaper than patterns, for what is filtered here is not paid for."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = length(var.filter) <= 5 && alltrue([for one in var.filter : can(keys(jsondecode(one)))])
    error_message = "filter must be five JSON objects at most."
  }
}

variable "input_template" {
  description = "What of a record becomes the event's detail, as a pipe's input template; null is all of it. Give one where items are large: an event of more than 256 KB is refused by the bus, and both images are in it. It must keep the sequence number, which sinks go by."
  type        = string
  default     = null

  validation {
    condition     = var.input_template == null ? true : strcontains(var.input_template, "<$.dynamodb.SequenceNumber>")
    error_message = "input_template must have <$.dynamodb.SequenceNumber>: without it a sink cannot tell which of two changes is the later one."
  }
}

variable "record_age_seconds" {
  description = "How old a record may become before the pipe gives it up to its dead-letter queue. The queue gets only where in the stream it is, and the stream keeps 24 h: so the default, 12 h, leaves as long to read it there."
  type        = number
  default     = 43200
  nullable    = false

  validation {
    condition     = var.record_age_seconds >= 60 && var.record_age_seconds <= 72000
    error_message = "record_age_seconds must be 60 to 72000 (20 h): the stream drops records at 24 h, and then nothing can read what the dead-letter queue names."
  }
}

variable "retries" {
  description = "How often a batch that the bus refused is tried again before it is given up. Without an end, one event that is too large would hold up its shard until the records behind it are lost too. Faults of AWS' own do not count (AWS: \"EventBridge Pipes error handling and troubleshooting\")."
  type        = number
  default     = 20
  nullable    = false

  validation {
    condition     = var.retries >= 1 && var.retries <= 1000
    error_message = "retries must be 1 to 1000."
  }
}

variable "log_retention_days" {
  description = "How long the pipe's log of errors is kept, days, as CloudWatch takes them. There are no items in it."
  type        = number
  default     = 400
  nullable    = false
}
