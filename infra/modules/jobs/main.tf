# The jobs of a lake: an image, task definitions on Fargate, and a schedule for each table and job. backfill and redrive have a definition each
# and no schedule: a person starts them (aws ecs run-task).
#
# No two of a kind are at work on a table at once: every scheduled command has --alone. It also has --metrics, of which alarms.tf makes alarms.

data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}
data "aws_region" "current" {}

locals {
  prefix  = "${var.lake.name}-${var.name}"
  account = data.aws_caller_identity.current.account_id
  region  = data.aws_region.current.name
  arn     = "arn:${data.aws_partition.current.partition}"

  # By the role under which a job runs: what the task has, and what the job is told of it.
  memory_mb = { for role, task in var.tasks : role => floor(task.memory_mb * 3 / 4) }
  roles     = { compact = "compaction", refresh = "compaction", verify = "verify" }

  jobs = merge([
    for key, table in var.tables : {
      for job, settings in { compact = table.compact, refresh = table.refresh, verify = table.verify } : "${key}-${job}" => {
        table                        = table.table_name
        job                          = job
        role                         = local.roles[job]
        schedule                     = settings.schedule
        silent_hours                 = settings.silent_hours
        watch_age                    = table.watch_age

        command = concat(
          [job, table.table_name], settings.arguments,
          ["--alone", "--metrics", "--memory-mb", tostring(local.memory_mb[local.roles[job]])],
        )
      } if settings.enabled
    }
  ]...)
}

resource "aws_ecr_repository" "this" {
  name                 = local.prefix
  image_tag_mutability = "IMMUTABLE"

  encryption_configuration {
    encryption_type = "KMS"
    kms_key         = var.lake.kms_key_arn
  }

  image_scanning_configuration {
    scan_on_push = true
  }
}

# Images with a tag stay: a task definition may name any of them.
resource "aws_ecr_lifecycle_policy" "this" {
  repository = aws_ecr_repository.this.name
  policy = jsonencode({
    rules = [{
      rulePriority = 1
      description  = "what lost its tag, or never had one"
      selection    = { tagStatus = "untagged", countType = "sinceImagePushed", countUnit = "days", countNumber = 14 }
      action       = { type = "expire" }
    }]
  })
}

resource "aws_ecs_cluster" "this" {
  name = local.prefix

  # What memory and disk tasks took, which var.tasks is to fit.
  setting {
    name  = "containerInsights"
    value = "enabled"
  }
}

resource "aws_cloudwatch_log_group" "this" {
  name              = "/dynalake/${var.lake.name}/${var.name}"
  kms_key_id        = var.lake.kms_key_arn
  retention_in_days = var.log_retention_days
}
