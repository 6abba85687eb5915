variable "lake" {
  description = "The lake: output `lake` of modules/lake."
  type = object({
    name            = string
    uri             = string
    kms_key_arn     = string
    alarm_topic_arn = string
    role_arns       = map(string)
  })

  validation {
    condition     = length(setsubtract(["compaction", "verify", "backfill", "redrive"], keys(var.lake.role_arns))) == 0
    error_message = "lake.role_arns must have the roles compaction, verify, backfill and redrive."
  }
}

variable "name" {
  description = "What the jobs are named by, behind the lake's name."
  type        = string
  default     = "jobs"
}

variable "tables" {
  description = <<-EOT
    The tables, by short names for what is made here. `table_name` is the table's name in DynamoDB, under which it is registered in the lake
    (dynalake add-table). Of each job:
      schedule      rate(…) or cron(…) in UTC.
        compact     about as often as Firehose delivers. Not every minute: each run that finds something writes a file a day of events, and a
                    task takes up to a minute to start.
        refresh     when the tail has grown to some percent of the rows; daily is a good start. Queries do not wait for it.
        verify      daily. A full Scan costs a read unit for each 4 KB: of a large table take arguments = ["--sample", "1%"] on most days.
      arguments     more of the command line, such as ["--rcu-max", "500"].
      silent_hours  without one that succeeded for so long, the alarm "has not run" is raised: more than two starts of compact, a day and some
                    hours for what runs daily. CloudWatch looks back seven days at most, so a job must run at least every six days to be watched.
      enabled       false: not scheduled, and not watched.
    `watch_age = false` for a table whose writes often change nothing, or are refused by their conditions: they use write capacity but make no
    change, and would look like changes that do not arrive.
  EOT
  type = map(object({
    table_name = string
    watch_age  = optional(bool, true)
    compact = optional(object({
      schedule     = optional(string, "rate(10 minutes)")
      arguments    = optional(list(string), [])
      silent_hours = optional(number, 1)
      enabled      = optional(bool, true)
    }), {})
    refresh = optional(object({
      schedule     = optional(string, "cron(17 2 * * ? *)")
      arguments    = optional(list(string), [])
      silent_hours = optional(number, 30)
      enabled      = optional(bool, true)
    }), {})
    verify = optional(object({
      schedule     = optional(string, "cron(23 4 * * ? *)")
      arguments    = optional(list(string), [])
      silent_hours = optional(number, 30)
      enabled      = optional(bool, true)
    }), {})
  }))

  validation {
    condition     = alltrue([for key in keys(var.tables) : can(regex("^[0-9a-zA-Z][0-9a-zA-Z_.-]{0,49}$", key))])
    error_message = "Short names of tables have at most 50 letters, digits, dots, dashes and underscores: names of schedules are made of them."
  }
  validation {
    condition     = alltrue([for table in values(var.tables) : can(regex("^[0-9a-zA-Z_.-]{3,255}$", table.table_name))])
    error_message = "table_name is the table's name in DynamoDB, not its ARN."
  }
  validation {
    condition = alltrue(flatten([for table in values(var.tables) : [
      for job in [table.compact, table.refresh, table.verify] : can(regex("^(rate|cron)\\(.+\\)$", job.schedule))
    ]]))
    error_message = "A schedule is rate(…) or cron(…)."
  }
  validation {
    condition = alltrue(flatten([for table in values(var.tables) : [
      for job in [table.compact, table.refresh, table.verify] :
      floor(job.silent_hours) == job.silent_hours && job.silent_hours >= 1 && job.silent_hours <= 168
    ]]))
    error_message = "silent_hours is a whole number from 1 to 168: CloudWatch's alarms look back seven days at most."
  }
  validation {
    condition = alltrue(flatten([for table in values(var.tables) : [
      for job in [table.compact, table.refresh, table.verify] : [
        for rate in regexall("^rate\\(([0-9]+) (minute|hour|day)s?\\)$", job.schedule) :
        job.silent_hours * 60 > tonumber(rate[0]) * { minute = 1, hour = 60, day = 1440 }[rate[1]]
      ] if job.enabled
    ]]))
    error_message = "silent_hours must be longer than from one start to the next, or the alarm \"has not run\" is raised by every wait."
  }
  validation {
    condition = alltrue(flatten([for table in values(var.tables) : [
      for job in [table.compact, table.refresh, table.verify] : !contains(job.arguments, "--json")
    ]]))
    error_message = "--json does not go with --metrics, and without metrics there are no alarms."
  }
}

variable "image_tag" {
  description = "The tag of the image in the repository that is made here (output repository_url). Tags are immutable: a new image has a new one, and becomes what runs by an apply, not by a push."
  type        = string

  validation {
    condition     = can(regex("^[0-9A-Za-z_][0-9A-Za-z_.-]{0,127}$", var.image_tag)) && var.image_tag != "latest"
    error_message = "A tag that names one image for good, such as a version or a commit; not \"latest\"."
  }
}

variable "architecture" {
  description = "For which processors the image was built: X86_64 or ARM64."
  type        = string
  default     = "X86_64"

  validation {
    condition     = contains(["X86_64", "ARM64"], var.architecture)
    error_message = "X86_64 or ARM64."
  }
}

variable "network" {
  description = "Where tasks run: subnets with a way to S3, Glue, DynamoDB, SQS, Kinesis, Secrets Manager, ECR and CloudWatch Logs (by endpoints or a NAT gateway), and security groups that let HTTPS out and nothing in. A public address only where the subnets have no other way out."
  type = object({
    subnet_ids         = list(string)
    security_group_ids = list(string)
    assign_public_ip   = optional(bool, false)
  })

  validation {
    condition     = length(var.network.subnet_ids) > 0 && length(var.network.security_group_ids) > 0
    error_message = "At least one subnet and one security group: without one, tasks are given the default group of the VPC."
  }
}

variable "tasks" {
  description = <<-EOT
    What a task of each role gets. `cpu` in units (1024 are one vCPU) and `memory_mb` in a combination that Fargate has; jobs are told three
    quarters of the memory (--memory-mb), for the pages of files that they write count too. `scratch_gib` (21 to 200) is the disk for the unpacked
    text of a batch and what DuckDB spills: two or three times a batch's unpacked size for compaction, all items of the table for verify.
  EOT
  type = object({
    compaction = optional(object({ cpu = optional(number, 2048), memory_mb = optional(number, 8192), scratch_gib = optional(number, 50) }), {})
    verify     = optional(object({ cpu = optional(number, 2048), memory_mb = optional(number, 8192), scratch_gib = optional(number, 100) }), {})
    backfill   = optional(object({ cpu = optional(number, 1024), memory_mb = optional(number, 6144), scratch_gib = optional(number, 50) }), {})
    redrive    = optional(object({ cpu = optional(number, 1024), memory_mb = optional(number, 4096), scratch_gib = optional(number, 21) }), {})
  })
  default = {}

  # AWS: "Task size" in the Amazon ECS guide for Fargate.
  validation {
    condition = alltrue([for task in values(var.tasks) : contains(lookup({
      "256"   = [512, 1024, 2048]
      "512"   = range(1024, 4097, 1024)
      "1024"  = range(2048, 8193, 1024)
      "2048"  = range(4096, 16385, 1024)
      "4096"  = range(8192, 30721, 1024)
      "8192"  = range(16384, 61441, 4096)
      "16384" = range(32768, 122881, 8192)
    }, tostring(task.cpu), []), task.memory_mb)])
    error_message = "cpu and memory_mb are not a combination that Fargate has."
  }
  validation {
    condition     = alltrue([for task in values(var.tasks) : task.memory_mb >= 1024])
    error_message = "memory_mb is 1024 at least: a job must be told 512 or more, and gets three quarters."
  }
  validation {
    condition     = alltrue([for task in values(var.tasks) : task.scratch_gib >= 21 && task.scratch_gib <= 200])
    error_message = "scratch_gib is 21 to 200: less cannot be asked of Fargate, more it does not have."
  }
}

variable "log_retention_days" {
  description = "How long the jobs' log is kept. A year, as a loss that is found late is traced by what the jobs said. Metrics are made as lines come, and outlive it."
  type        = number
  default     = 365
}

variable "thresholds" {
  description = <<-EOT
    When alarms are raised.
      failed                     runs that failed within an hour. compact: two, for the start ten minutes later mends what passes by itself;
                                 refresh and verify: one, as the next is a day away.
      dead_letters               records that a compact could not take in: one, as each may be a change that the log lacks.
      differing                  items that a verify found to differ from the table: one, as this is what must never be. Stays until a verify finds none, be it
                                 that of a sample without those items: dynalake status and proofs/ have what each found.
      unproven                   items that changed all the while a verify looked: one. Run it again; what stays unproven is a difference in the making.
      newest_change_age_seconds  how old the newest change in the log may be while the table is written to: an hour, twice what Firehose (15 minutes),
                                 compact (10) and a task's start take together. 1800 to 43200. Of a table at rest nothing is said.
      scheduler_errors           starts within 15 minutes that ECS refused: three, for each is tried again. What is given up is told at once.
  EOT
  type = object({
    failed = optional(object({
      compact = optional(number, 2)
      refresh = optional(number, 1)
      verify  = optional(number, 1)
    }), {})
    dead_letters              = optional(number, 1)
    differing                 = optional(number, 1)
    unproven                  = optional(number, 1)
    newest_change_age_seconds = optional(number, 3600)
    scheduler_errors          = optional(number, 3)
  })
  default = {}

  validation {
    condition     = var.thresholds.newest_change_age_seconds >= 1800 && var.thresholds.newest_change_age_seconds <= 43200 && var.thresholds.newest_change_age_seconds % 60 == 0
    error_message = "newest_change_age_seconds is a multiple of 60 from 1800 to 43200: it is the period of the alarm, too."
  }
}
