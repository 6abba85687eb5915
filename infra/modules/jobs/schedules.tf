# EventBridge Scheduler starts a task for each table and job. A start that ECS refuses is tried again for an hour, and then lies in the queue; a start
# that comes twice does nothing the second time (--alone).

resource "aws_scheduler_schedule_group" "this" {
  name = local.prefix
}

resource "aws_scheduler_schedule" "this" {
  #checkov:skip=CKV_AWS_297:it holds a command line and no data, and a key that cannot be used would stop every job
  for_each = local.jobs

  name                = each.key
  group_name          = aws_scheduler_schedule_group.this.name
  description         = "dynalake ${join(" ", each.value.command)}"
  schedule_expression = each.value.schedule
  state               = "ENABLED"

  # Daily jobs of many tables need not begin in one minute; what runs every ten must.
  flexible_time_window {
    mode                      = each.value.job == "compact" ? "OFF" : "FLEXIBLE"
    maximum_window_in_minutes = each.value.job == "compact" ? null : 15
  }

  target {
    arn      = aws_ecs_cluster.this.arn
    role_arn = aws_iam_role.scheduler.arn
    input    = jsonencode({ containerOverrides = [{ name = local.container, command = each.value.command }] })

    ecs_parameters {
      task_definition_arn = aws_ecs_task_definition.this[each.value.role].arn
      launch_type         = "FARGATE"
      platform_version    = "LATEST"
      task_count          = 1
      network_configuration {
        subnets          = var.network.subnet_ids
        security_groups  = var.network.security_group_ids
        assign_public_ip = var.network.assign_public_ip
      }
    }

    retry_policy {
      maximum_event_age_in_seconds = 3600
      maximum_retry_attempts       = 30
    }

    dead_letter_config {
      arn = aws_sqs_queue.not_started.arn
    }
  }
}

# Starts that were given up. Nothing reads it: the job's next start does the work. The alarm tells of it, the message why.
resource "aws_sqs_queue" "not_started" {
  name                      = "${local.prefix}-not-started"
  message_retention_seconds = 1209600
  kms_master_key_id         = var.lake.kms_key_arn
}

resource "aws_iam_role" "scheduler" {
  name = "${local.prefix}-scheduler"
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "scheduler.amazonaws.com" }
      Action    = "sts:AssumeRole"
      # The group, never a schedule of it (AWS: "Confused deputy prevention in EventBridge Scheduler").
      Condition = { StringEquals = {
        "aws:SourceAccount" = local.account
        "aws:SourceArn"     = aws_scheduler_schedule_group.this.arn
      } }
    }]
  })
}

resource "aws_iam_role_policy" "scheduler" {
  name = "start-jobs"
  role = aws_iam_role.scheduler.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid    = "StartTasks"
        Effect = "Allow"
        Action = "ecs:RunTask"
        # Whichever revision: between one and the next of an apply none is missing.
        Resource  = [for role in ["compaction", "verify"] : "${local.arn}:ecs:${local.region}:${local.account}:task-definition/${aws_ecs_task_definition.this[role].family}:*"]
        Condition = { ArnEquals = { "ecs:cluster" = aws_ecs_cluster.this.arn } }
      },
      {
        Sid       = "GiveTasksTheirRoles"
        Effect    = "Allow"
        Action    = "iam:PassRole"
        Resource  = [var.lake.role_arns["compaction"], var.lake.role_arns["verify"], aws_iam_role.execution.arn]
        Condition = { StringEquals = { "iam:PassedToService" = "ecs-tasks.amazonaws.com" } }
      },
      {
        Sid      = "TellOfStartsGivenUp"
        Effect   = "Allow"
        Action   = "sqs:SendMessage"
        Resource = aws_sqs_queue.not_started.arn
      },
      {
        Sid       = "EncryptWhatIsTold"
        Effect    = "Allow"
        Action    = ["kms:Decrypt", "kms:GenerateDataKey"]
        Resource  = var.lake.kms_key_arn
        Condition = { StringEquals = { "kms:ViaService" = "sqs.${local.region}.amazonaws.com" } }
      },
    ]
  })
}
