output "init" {
  description = "First, when the lake is there."
  value       = module.lake.init
}

output "add_table" {
  description = "Second; then [masks] and the table's masks in lake.toml; then apply the rest."
  value       = module.orders.add_table
}

output "repository_url" {
  description = "Where the image of jobs is pushed to."
  value       = module.jobs.repository_url
}

output "run_task" {
  description = "What aws ecs run-task takes, for a backfill or a redrive by hand."
  value = {
    cluster               = module.jobs.cluster_name
    task_definitions      = module.jobs.task_definition_arns
    network_configuration = module.jobs.network_configuration
    container             = module.jobs.container_name
  }
}

output "redrive" {
  description = "What brings in records that failed, once the cause is mended."
  value       = module.orders.redrive
}

output "analyst_policy_arn" {
  description = "For who asks the lake."
  value       = module.lake.analyst_policy_arn
}
