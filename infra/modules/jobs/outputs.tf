output "repository_url" {
  description = "Where the image is pushed to, with the tag var.image_tag."
  value       = aws_ecr_repository.this.repository_url
}

output "cluster_name" {
  description = "The cluster, for aws ecs run-task."
  value       = aws_ecs_cluster.this.name
}

output "cluster_arn" {
  description = "The cluster's ARN."
  value       = aws_ecs_cluster.this.arn
}

output "task_definition_arns" {
  description = "By role (compaction, verify, backfill, redrive), for aws ecs run-task."
  value       = { for role, definition in aws_ecs_task_definition.this : role => definition.arn }
}

output "memory_mb" {
  description = "What a job of each role may be told as --memory-mb, for aws ecs run-task."
  value       = local.memory_mb
}

output "network_configuration" {
  description = "Where tasks run, as aws ecs run-task --network-configuration takes it."
  value = jsonencode({ awsvpcConfiguration = {
    subnets        = var.network.subnet_ids
    securityGroups = var.network.security_group_ids
    assignPublicIp = var.network.assign_public_ip ? "ENABLED" : "DISABLED"
  } })
}

output "container_name" {
  description = "The container's name in every task definition, for overrides."
  value       = local.container
}

output "log_group_name" {
  description = "Where jobs write; streams begin with the role's name."
  value       = aws_cloudwatch_log_group.this.name
}

output "schedule_group_name" {
  description = "The group of all schedules, named <table>-<job>."
  value       = aws_scheduler_schedule_group.this.name
}

output "not_started_queue_url" {
  description = "Starts that were given up lie here, each with its reason."
  value       = aws_sqs_queue.not_started.url
}

output "alarm_names" {
  description = "All alarms of jobs."
  value       = sort([for alarm in aws_cloudwatch_metric_alarm.this : alarm.alarm_name])
}
