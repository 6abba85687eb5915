mock_provider "aws" {
  source          = "../../mocks"
  override_during = plan
}

# Told apart, where the mock would answer all alike.
override_resource {
  target          = aws_ecs_task_definition.this["compaction"]
  values          = { arn = "arn:aws:ecs:eu-central-1:111122223333:task-definition/shop-jobs-compaction:7" }
  override_during = plan
}
override_resource {
  target          = aws_ecs_task_definition.this["verify"]
  values          = { arn = "arn:aws:ecs:eu-central-1:111122223333:task-definition/shop-jobs-verify:7" }
  override_during = plan
}
override_resource {
  target          = aws_iam_role.execution
  values          = { arn = "arn:aws:iam::111122223333:role/shop-jobs-execution" }
  override_during = plan
}
override_resource {
  target          = aws_iam_role.scheduler
  values          = { arn = "arn:aws:iam::111122223333:role/shop-jobs-scheduler" }
  override_during = plan
}

variables {
  lake = {
    name            = "shop"
    uri             = "s3://shop-lake/lake"
    kms_key_arn     = "arn:aws:kms:eu-central-1:111122223333:key/11111111-2222-3333-4444-555555555555"
    alarm_topic_arn = "arn:aws:sns:eu-central-1:111122223333:shop-alarms"
    role_arns = {
      compaction = "arn:aws:iam::111122223333:role/shop-compaction"
      verify     = "arn:aws:iam::111122223333:role/shop-verify"
      backfill   = "arn:aws:iam::111122223333:role/shop-backfill"
      redrive    = "arn:aws:iam::111122223333:role/shop-redrive"
    }
  }
  tables = {
    orders = { table_name = "Orders.v2" }
  }
  image_tag = "0.1.0"
  network   = { subnet_ids = ["subnet-1", "subnet-2"], security_group_ids = ["sg-1"] }
}

run "as_given" {
  command = plan

  # Image.
  assert {
    condition     = aws_ecr_repository.this.image_tag_mutability == "IMMUTABLE"
    error_message = "what runs must not change by a push"
  }
  assert {
    condition     = aws_ecr_repository.this.encryption_configuration[0].encryption_type == "KMS" && aws_ecr_repository.this.encryption_configuration[0].kms_key == var.lake.kms_key_arn
    error_message = "images are encrypted with the lake's key"
  }
  assert {
    condition     = aws_ecr_repository.this.image_scanning_configuration[0].scan_on_push
    error_message = "images are scanned"
  }
  assert {
    condition     = [for rule in jsondecode(aws_ecr_lifecycle_policy.this.policy).rules : rule.selection.tagStatus] == ["untagged"]
    error_message = "an image with a tag may be what a definition runs"
  }

  # Log.
  assert {
    condition     = aws_cloudwatch_log_group.this.kms_key_id == var.lake.kms_key_arn && aws_cloudwatch_log_group.this.retention_in_days == 365
    error_message = "the log is encrypted, and kept a year"
  }

  # Tasks.
  assert {
    condition     = { for role, task in aws_ecs_task_definition.this : role => task.task_role_arn } == { for role in ["compaction", "verify", "backfill", "redrive"] : role => "arn:aws:iam::111122223333:role/shop-${role}" }
    error_message = "each role has a definition, with its own rights and no others"
  }
  assert {
    condition = alltrue([for task in aws_ecs_task_definition.this :
      task.requires_compatibilities == toset(["FARGATE"]) && task.network_mode == "awsvpc" && task.execution_role_arn == aws_iam_role.execution.arn
      && task.runtime_platform[0].cpu_architecture == "X86_64" && task.volume[*].name == tolist(["scratch"])
    ])
    error_message = "tasks run on Fargate, with a volume for scratch"
  }
  assert {
    condition     = { for role, task in aws_ecs_task_definition.this : role => "${task.cpu} ${task.memory} ${task.ephemeral_storage[0].size_in_gib}" } == { compaction = "2048 8192 50", verify = "2048 8192 100", backfill = "1024 6144 50", redrive = "1024 4096 21" }
    error_message = "the sizes are as documented"
  }
  assert {
    condition     = alltrue([for task in aws_ecs_task_definition.this : length(jsondecode(task.container_definitions)) == 1])
    error_message = "one container a task"
  }
  assert {
    condition = alltrue([for role, task in aws_ecs_task_definition.this : alltrue([for container in jsondecode(task.container_definitions) :
      container.readonlyRootFilesystem == true && container.user == "10001:10001" && !can(container.privileged)
      && container.mountPoints == [{ sourceVolume = "scratch", containerPath = "/scratch", readOnly = false }]
    ])])
    error_message = "jobs are no root, and write to their scratch alone"
  }
  assert {
    condition = alltrue([for role, task in aws_ecs_task_definition.this : alltrue([for container in jsondecode(task.container_definitions) :
      { for one in container.environment : one.name => one.value } == { AWS_DEFAULT_REGION = "eu-central-1", DYNALAKE_LAKE = "s3://shop-lake/lake", TMPDIR = "/scratch" }
    ])])
    error_message = "jobs know their lake, and where scratch is"
  }
  assert {
    condition = alltrue([for role, task in aws_ecs_task_definition.this : alltrue([for container in jsondecode(task.container_definitions) :
      container.name == "dynalake" && container.image == "111122223333.dkr.ecr.eu-central-1.amazonaws.com/mock:0.1.0" && container.essential == true
    ])])
    error_message = "the image is that of the tag"
  }
  assert {
    condition = alltrue([for role, task in aws_ecs_task_definition.this : alltrue([for container in jsondecode(task.container_definitions) :
      container.logConfiguration.logDriver == "awslogs" && container.logConfiguration.options == {
        awslogs-group         = "/dynalake/shop/jobs"
        awslogs-region        = "eu-central-1"
        awslogs-stream-prefix = role
        mode                  = "non-blocking"
        max-buffer-size       = "10m"
      }
    ])])
    error_message = "what jobs say goes to the log group: alarms are made of it"
  }
  assert {
    condition     = alltrue([for task in aws_ecs_task_definition.this : alltrue([for container in jsondecode(task.container_definitions) : container.linuxParameters.initProcessEnabled == true])])
    error_message = "a stop must reach the job"
  }

  # Alarms.
  assert {
    condition = {
      for name, one in aws_cloudwatch_metric_alarm.this : name => one.metric_name == null ? join("; ", sort(concat(
        [for query in one.metric_query : "= ${query.expression}" if query.return_data],
        flatten([for query in one.metric_query : [for metric in query.metric : "${query.id}: ${metric.namespace} ${metric.metric_name} ${jsonencode(metric.dimensions)} ${metric.stat} ${metric.period}"]]),
      ))) : "${one.namespace} ${one.metric_name} ${jsonencode(one.dimensions)} ${one.statistic} ${one.period}"
      } == {
      orders-compact-not-run      = "= FILL(succeeded, 0); succeeded: dynalake Succeeded {\"Job\":\"compact\",\"Lake\":\"s3://shop-lake/lake\",\"Table\":\"Orders.v2\"} Sum 300"
      orders-refresh-not-run      = "= FILL(succeeded, 0); succeeded: dynalake Succeeded {\"Job\":\"refresh\",\"Lake\":\"s3://shop-lake/lake\",\"Table\":\"Orders.v2\"} Sum 3600"
      orders-verify-not-run       = "= FILL(succeeded, 0); succeeded: dynalake Succeeded {\"Job\":\"verify\",\"Lake\":\"s3://shop-lake/lake\",\"Table\":\"Orders.v2\"} Sum 3600"
      orders-compact-failed       = "dynalake Failed {\"Job\":\"compact\",\"Lake\":\"s3://shop-lake/lake\",\"Table\":\"Orders.v2\"} Sum 3600"
      orders-refresh-failed       = "dynalake Failed {\"Job\":\"refresh\",\"Lake\":\"s3://shop-lake/lake\",\"Table\":\"Orders.v2\"} Sum 3600"
      orders-verify-failed        = "dynalake Failed {\"Job\":\"verify\",\"Lake\":\"s3://shop-lake/lake\",\"Table\":\"Orders.v2\"} Sum 3600"
      orders-compact-dead-letters = "dynalake DeadLetters {\"Job\":\"compact\",\"Lake\":\"s3://shop-lake/lake\",\"Table\":\"Orders.v2\"} Sum 300"
      orders-verify-differing     = "dynalake Differing {\"Job\":\"verify\",\"Lake\":\"s3://shop-lake/lake\",\"Table\":\"Orders.v2\"} Maximum 300"
      orders-verify-unproven      = "dynalake Unproven {\"Job\":\"verify\",\"Lake\":\"s3://shop-lake/lake\",\"Table\":\"Orders.v2\"} Maximum 300"
      orders-compact-behind       = "= IF(FILL(written, 0) > 0, age, 0); age: dynalake NewestChangeAge {\"Job\":\"compact\",\"Lake\":\"s3://shop-lake/lake\",\"Table\":\"Orders.v2\"} Minimum 3600; written: AWS/DynamoDB ConsumedWriteCapacityUnits {\"TableName\":\"Orders.v2\"} Sum 3600"
      starts-refused              = "AWS/Scheduler TargetErrorCount {\"ScheduleGroup\":\"shop-jobs\"} Sum 900"
      starts-dropped              = "AWS/Scheduler InvocationDroppedCount {\"ScheduleGroup\":\"shop-jobs\"} Sum 300"
      starts-untold               = "AWS/Scheduler InvocationsFailedToBeSentToDeadLetterCount {\"ScheduleGroup\":\"shop-jobs\"} Sum 300"
      not-started                 = "AWS/SQS ApproximateNumberOfMessagesVisible {\"QueueName\":\"shop-jobs-not-started\"} Maximum 300"
    }
    error_message = "what is watched, under the very names that jobs and AWS give it"
  }
  assert {
    condition = {
      for name, one in aws_cloudwatch_metric_alarm.this : name => "${one.comparison_operator} ${one.threshold}, ${one.datapoints_to_alarm} of ${one.evaluation_periods}, ${one.treat_missing_data}"
      } == {
      orders-compact-not-run      = "LessThanThreshold 1, 12 of 12, breaching"
      orders-refresh-not-run      = "LessThanThreshold 1, 30 of 30, breaching"
      orders-verify-not-run       = "LessThanThreshold 1, 30 of 30, breaching"
      orders-compact-failed       = "GreaterThanOrEqualToThreshold 2, 1 of 1, notBreaching"
      orders-refresh-failed       = "GreaterThanOrEqualToThreshold 1, 1 of 1, notBreaching"
      orders-verify-failed        = "GreaterThanOrEqualToThreshold 1, 1 of 1, notBreaching"
      orders-compact-dead-letters = "GreaterThanOrEqualToThreshold 1, 1 of 1, notBreaching"
      orders-verify-differing     = "GreaterThanOrEqualToThreshold 1, 1 of 1, ignore"
      orders-verify-unproven      = "GreaterThanOrEqualToThreshold 1, 1 of 1, ignore"
      orders-compact-behind       = "GreaterThanThreshold 3600, 2 of 2, notBreaching"
      starts-refused              = "GreaterThanOrEqualToThreshold 3, 1 of 1, notBreaching"
      starts-dropped              = "GreaterThanOrEqualToThreshold 1, 1 of 1, notBreaching"
      starts-untold               = "GreaterThanOrEqualToThreshold 1, 1 of 1, notBreaching"
      not-started                 = "GreaterThanOrEqualToThreshold 1, 1 of 1, notBreaching"
    }
    error_message = "when it is told, and what silence means"
  }
  assert {
    condition     = alltrue([for one in aws_cloudwatch_metric_alarm.this : one.alarm_actions == toset([var.lake.alarm_topic_arn]) && one.ok_actions == toset([var.lake.alarm_topic_arn]) && one.actions_enabled])
    error_message = "every alarm is told, and its end"
  }
  assert {
    condition     = alltrue([for one in aws_cloudwatch_metric_alarm.this : length(one.alarm_description) <= 1024])
    error_message = "CloudWatch takes 1024 characters of description"
  }

  # Rights.
  assert {
    condition     = jsondecode(aws_iam_role.scheduler.assume_role_policy).Statement[0].Principal == { Service = "scheduler.amazonaws.com" } && jsondecode(aws_iam_role.scheduler.assume_role_policy).Statement[0].Condition == { StringEquals = { "aws:SourceAccount" = "111122223333", "aws:SourceArn" = aws_scheduler_schedule_group.this.arn } }
    error_message = "the scheduler takes its role for schedules of this group alone"
  }
  assert {
    condition     = jsondecode(aws_iam_role.execution.assume_role_policy).Statement[0].Principal == { Service = "ecs-tasks.amazonaws.com" } && jsondecode(aws_iam_role.execution.assume_role_policy).Statement[0].Condition == { StringEquals = { "aws:SourceAccount" = "111122223333" }, ArnLike = { "aws:SourceArn" = "arn:aws:ecs:eu-central-1:111122223333:*" } }
    error_message = "ECS takes its role for tasks of this account alone"
  }
  assert {
    condition = { for one in jsondecode(aws_iam_role_policy.scheduler.policy).Statement : one.Sid => jsonencode([one.Effect, one.Action, one.Resource, try(one.Condition, null)]) } == {
      StartTasks = jsonencode(["Allow", "ecs:RunTask", [
        "arn:aws:ecs:eu-central-1:111122223333:task-definition/shop-jobs-compaction:*", "arn:aws:ecs:eu-central-1:111122223333:task-definition/shop-jobs-verify:*",
      ], { ArnEquals = { "ecs:cluster" = aws_ecs_cluster.this.arn } }])
      GiveTasksTheirRoles = jsonencode(["Allow", "iam:PassRole", [
        "arn:aws:iam::111122223333:role/shop-compaction", "arn:aws:iam::111122223333:role/shop-verify", "arn:aws:iam::111122223333:role/shop-jobs-execution",
      ], { StringEquals = { "iam:PassedToService" = "ecs-tasks.amazonaws.com" } }])
      TellOfStartsGivenUp = jsonencode(["Allow", "sqs:SendMessage", aws_sqs_queue.not_started.arn, null])
      EncryptWhatIsTold   = jsonencode(["Allow", ["kms:Decrypt", "kms:GenerateDataKey"], var.lake.kms_key_arn, { StringEquals = { "kms:ViaService" = "sqs.eu-central-1.amazonaws.com" } }])
    }
    error_message = "the scheduler starts the scheduled jobs, and gives their roles to tasks: no others, and to nobody else"
  }
  assert {
    condition = { for one in jsondecode(aws_iam_role_policy.execution.policy).Statement : one.Sid => jsonencode([one.Effect, one.Action, one.Resource]) } == {
      LogInToRegistry = jsonencode(["Allow", "ecr:GetAuthorizationToken", "*"])
      FetchImage      = jsonencode(["Allow", ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"], aws_ecr_repository.this.arn])
      WriteLog        = jsonencode(["Allow", ["logs:CreateLogStream", "logs:PutLogEvents"], "${aws_cloudwatch_log_group.this.arn}:*"])
    }
    error_message = "ECS fetches this image and writes this log"
  }

  # Outputs.
  assert {
    condition     = keys(output.task_definition_arns) == ["backfill", "compaction", "redrive", "verify"] && output.cluster_name == "shop-jobs" && output.container_name == "dynalake" && output.log_group_name == "/dynalake/shop/jobs" && output.schedule_group_name == "shop-jobs"
    error_message = "what a person needs to run a job by hand"
  }
  assert {
    condition     = output.memory_mb == { compaction = 6144, verify = 6144, backfill = 4608, redrive = 3072 }
    error_message = "three quarters of a task's memory"
  }
  assert {
    condition     = jsondecode(output.network_configuration).awsvpcConfiguration == { subnets = ["subnet-1", "subnet-2"], securityGroups = ["sg-1"], assignPublicIp = "DISABLED" }
    error_message = "the network as aws ecs run-task takes it"
  }
  assert {
    condition     = length(output.alarm_names) == 14 && contains(output.alarm_names, "shop-jobs-orders-compact-not-run")
    error_message = "all alarms are told of"
  }
}

run "other_tables_and_sizes" {
  command = plan

  variables {
    tables = {
      orders = { table_name = "Orders.v2" }
      events = {
        table_name = "events"
        watch_age  = false
        compact    = { schedule = "rate(5 minutes)", arguments = ["--raw", "s3://shop-raw/events/"] }
        refresh    = { enabled = false }
        verify     = { schedule = "cron(0 5 ? * SUN *)", arguments = ["--sample", "1%"], silent_hours = 168 }
      }
    }
    tasks = { verify = { cpu = 4096, memory_mb = 16384 } }
  }

  assert {
    condition = { for name, one in aws_scheduler_schedule.this : name => join(" ", concat([one.schedule_expression, "|"], jsondecode(one.target[0].input).containerOverrides[0].command)) } == {
      orders-compact = "rate(10 minutes) | compact Orders.v2 --alone --metrics --memory-mb 6144"
      orders-refresh = "cron(17 2 * * ? *) | refresh Orders.v2 --alone --metrics --memory-mb 6144"
      orders-verify  = "cron(23 4 * * ? *) | verify Orders.v2 --alone --metrics --memory-mb 12288"
      events-compact = "rate(5 minutes) | compact events --raw s3://shop-raw/events/ --alone --metrics --memory-mb 6144"
      events-verify  = "cron(0 5 ? * SUN *) | verify events --sample 1% --alone --metrics --memory-mb 12288"
    }
    error_message = "each table and job has a schedule; no two of a kind are at work at once; each says what it did, and keeps within its memory"
  }
  assert {
    condition     = alltrue([for one in aws_scheduler_schedule.this : jsondecode(one.target[0].input).containerOverrides[*].name == ["dynalake"]])
    error_message = "an override names the container, or the task does nothing but show its help"
  }
  assert {
    condition = alltrue([for name, one in aws_scheduler_schedule.this :
      one.target[0].ecs_parameters[0].task_definition_arn == "arn:aws:ecs:eu-central-1:111122223333:task-definition/shop-jobs-${endswith(name, "-verify") ? "verify" : "compaction"}:7"
    ])
    error_message = "a job runs under the role that is made for it"
  }
  assert {
    condition = alltrue([for one in aws_scheduler_schedule.this :
      one.state == "ENABLED" && one.group_name == "shop-jobs" && one.target[0].arn == aws_ecs_cluster.this.arn && one.target[0].role_arn == aws_iam_role.scheduler.arn
      && one.target[0].ecs_parameters[0].launch_type == "FARGATE" && one.target[0].ecs_parameters[0].task_count == 1
    ])
    error_message = "schedules are on, of one group, and start one task"
  }
  assert {
    condition = alltrue([for one in aws_scheduler_schedule.this :
      one.target[0].ecs_parameters[0].network_configuration[0].subnets == toset(["subnet-1", "subnet-2"])
      && one.target[0].ecs_parameters[0].network_configuration[0].security_groups == toset(["sg-1"])
      && one.target[0].ecs_parameters[0].network_configuration[0].assign_public_ip == false
    ])
    error_message = "tasks have the network that was given, and no public address"
  }
  assert {
    condition = alltrue([for one in aws_scheduler_schedule.this :
      one.target[0].retry_policy[0].maximum_retry_attempts > 0 && one.target[0].retry_policy[0].maximum_event_age_in_seconds == 3600
      && one.target[0].dead_letter_config[0].arn == aws_sqs_queue.not_started.arn
    ])
    error_message = "a start that is refused is tried again, and told of when given up"
  }
  assert {
    condition     = alltrue([for name, one in aws_scheduler_schedule.this : one.flexible_time_window[0].mode == (endswith(name, "-compact") ? "OFF" : "FLEXIBLE")])
    error_message = "compact keeps its time"
  }
  assert {
    condition     = aws_sqs_queue.not_started.kms_master_key_id == var.lake.kms_key_arn && aws_sqs_queue.not_started.message_retention_seconds == 1209600
    error_message = "the queue is encrypted, and keeps what it can"
  }
  assert {
    condition = [for name in keys(aws_cloudwatch_metric_alarm.this) : name if startswith(name, "events-")] == [
      "events-compact-dead-letters", "events-compact-failed", "events-compact-not-run",
      "events-verify-differing", "events-verify-failed", "events-verify-not-run", "events-verify-unproven",
    ]
    error_message = "what is not scheduled is not watched, nor the age of a table whose writes change nothing"
  }
  assert {
    condition     = "${aws_cloudwatch_metric_alarm.this["events-verify-not-run"].evaluation_periods} of ${one([for query in aws_cloudwatch_metric_alarm.this["events-verify-not-run"].metric_query : query.metric[0].period if length(query.metric) > 0])}" == "168 of 3600"
    error_message = "a rare job is looked back for by the hour"
  }
}

# What is refused, each variable for one reason in each run.
run "wrong" {
  command = plan
  variables {
    image_tag  = "latest"
    tasks      = { compaction = { cpu = 1024, memory_mb = 9216 } }
    tables     = { orders = { table_name = "orders", verify = { silent_hours = 169 } } }
    network    = { subnet_ids = ["subnet-1"], security_group_ids = [] }
    thresholds = { newest_change_age_seconds = 600 }
  }
  expect_failures = [var.image_tag, var.tasks, var.tables, var.network, var.thresholds]
}

run "wrong_otherwise" {
  command = plan
  variables {
    tasks  = { redrive = { cpu = 256, memory_mb = 512 } }
    tables = { orders = { table_name = "orders", compact = { arguments = ["--json"] } } }
  }
  expect_failures = [var.tasks, var.tables]
}

run "wrong_in_a_third_way" {
  command = plan
  variables {
    tasks  = { verify = { scratch_gib = 20 } }
    tables = { orders = { table_name = "arn:aws:dynamodb:eu-central-1:111122223333:table/orders" } }
  }
  expect_failures = [var.tasks, var.tables]
}

run "wrong_in_a_fourth_way" {
  command = plan
  variables {
    tables = { orders = { table_name = "orders", compact = { schedule = "every ten minutes" } } }
  }
  expect_failures = [var.tables]
}
