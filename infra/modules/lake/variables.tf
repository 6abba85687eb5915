variable "name" {
  description = "What everything of this lake is named after: letters, digits and dashes, at most 32."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,30}[a-z0-9]$", var.name))
    error_message = "name: 2 to 32 lower-case letters, digits and dashes; a letter first, no dash last."
  }
}

variable "bucket" {
  description = "The bucket's name; NAME-ACCOUNT-REGION unless given, as names of buckets are taken worldwide."
  type        = string
  default     = null
}

variable "prefix" {
  description = "Where the lake is in the bucket. What expires lies beside it, so it may not be below one of those places."
  type        = string
  default     = "lake"
  nullable    = false

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9_-]*(/[a-z0-9][a-z0-9_-]*)*$", var.prefix))
    error_message = "prefix: lower-case words with / between them, none at the beginning or the end."
  }
  validation {
    condition     = !contains(["athena-results", "aws", "dynamodb-exports", "firehose-errors"], split("/", var.prefix)[0])
    error_message = "prefix: objects under athena-results/, aws/, dynamodb-exports/ and firehose-errors/ may expire."
  }
}

variable "database" {
  description = "The Glue database of the lake's tables, for `dynalake init --database`; NAME with _ for - unless given. Views go to DATABASE_views."
  type        = string
  default     = null

  validation {
    condition     = var.database == null || can(regex("^[a-z0-9_]{1,200}$", var.database))
    error_message = "database: lower-case letters, digits and _, at most 200: Athena takes no others without quotes."
  }
}

variable "noncurrent_days" {
  description = "How long a version that was overwritten or deleted stays. It is the lake's backup: allow for how long an error may go unseen, such as a long weekend and its discovery."
  type        = number
  default     = 30
  nullable    = false

  validation {
    condition     = var.noncurrent_days >= 7
    error_message = "noncurrent_days: at least 7, or what was deleted by mistake on a Friday is gone by the next."
  }
}

variable "result_days" {
  description = "How long results of Athena stay. They can be had again by the same query; its cache of results looks back at most 7 days."
  type        = number
  default     = 30
  nullable    = false

  validation {
    condition     = var.result_days >= 1
    error_message = "result_days: at least 1."
  }
}

variable "export_days" {
  description = "How long exports of tables under dynamodb-exports/ stay: they are needed until `backfill --from-export` is done, and hold items before masks."
  type        = number
  default     = 14
  nullable    = false

  validation {
    condition     = var.export_days >= 3
    error_message = "export_days: at least 3, for a large export to be taken in and looked at."
  }
}

variable "failed_record_days" {
  description = "How long records that failed (firehose-errors/, aws/lambda/) stay; null keeps them. They are the only copy of changes that are not in the lake, until they are redriven; but they are as they came, before masks."
  type        = number
  default     = null

  validation {
    condition     = var.failed_record_days == null || try(var.failed_record_days >= 14, false)
    error_message = "failed_record_days: at least 14, longer than it takes to see an alarm, mend its cause and redrive."
  }
}

variable "raw_transition_days" {
  description = "After so many days raw objects move to STANDARD_IA, which costs half and a fee for reading; null leaves them. They are read once, and again by `compact --reread` or for another lake."
  type        = number
  default     = null

  validation {
    condition     = var.raw_transition_days == null || try(var.raw_transition_days >= 30, false)
    error_message = "raw_transition_days: S3 takes 30 or more for STANDARD_IA."
  }
}

variable "scan_limit_gb" {
  description = "What one query in Athena may read, in GB, before it is stopped: at 5 dollars a TB, 100 GB are half a dollar. A query without a filter on a large log is what it is for."
  type        = number
  default     = 100
  nullable    = false

  validation {
    condition     = var.scan_limit_gb >= 1 && var.scan_limit_gb <= 7000
    error_message = "scan_limit_gb: from 1 to 7000."
  }
}

variable "alarm_emails" {
  description = "Who gets a mail for each alarm; every address has to confirm it once. Other subscribers: the output alarm_topic_arn."
  type        = set(string)
  default     = []
  nullable    = false
}

variable "mask_secret_arn" {
  description = "The secret of masks in Secrets Manager, as lake.toml names it; null where no table has masks. Jobs need it, beside the functions of a table."
  type        = string
  default     = null

  validation {
    condition     = var.mask_secret_arn == null || can(regex("^arn:[a-z-]+:secretsmanager:[a-z0-9-]+:[0-9]{12}:secret:[^*]+$", var.mask_secret_arn))
    error_message = "mask_secret_arn: the ARN of one secret."
  }
}

variable "mask_secret_kms_key_arn" {
  description = "The key of that secret where it is neither the lake's nor aws/secretsmanager."
  type        = string
  default     = null
}

variable "enabling_table_arns" {
  description = "Tables for which the policy `enabling` allows to switch streaming on and off; without any there is no such policy."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for arn in var.enabling_table_arns : can(regex("^arn:[a-z-]+:dynamodb:[a-z0-9-]+:[0-9]{12}:table/[A-Za-z0-9_.-]+$", arn))])
    error_message = "enabling_table_arns: ARNs of tables, each named whole."
  }
}
