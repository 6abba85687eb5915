output "add_table" {
  description = "The command that adds the table to the lake: before this module is applied."
  value       = "dynalake --lake ${var.lake.uri} add-table ${var.table_name} --from-dynamodb --surface ${local.is_kds ? "kds" : "streams"}"
}

output "redrive" {
  description = "The commands that bring in what failed, once its cause is mended."
  value = concat(
    [for url in module.consumer[*].queue_url : "dynalake --lake ${var.lake.uri} redrive --queue ${url}"],
    [for prefix in local.failure_prefixes : "dynalake --lake ${var.lake.uri} redrive --from s3://${var.lake.bucket}/${prefix}"],
  )
}

output "stream_name" {
  description = "The Kinesis stream, for `dynalake status --stream`; null for another surface."
  value       = one(module.stream[*].stream_name)
}

output "stream_arn" {
  description = "The stream that is read: the Kinesis stream, or the table's own."
  value       = local.stream_arn
}

output "firehose_name" {
  description = "The delivery stream; null where there is none."
  value       = one(module.stream[*].firehose_name)
}

output "function_names" {
  description = "The functions by what they are: consumer, transform."
  value       = local.function_names
}

output "mapping_uuid" {
  description = "The consumer's event source mapping; null where there is none."
  value       = one(module.consumer[*].mapping_uuid)
}

output "dead_letter_queue_names" {
  description = "The queues in which any message is an alarm."
  value       = local.dead_letter_queues
}

output "pipe_name" {
  description = "The pipe, and its bus; null for another surface."
  value       = one(module.fanout[*].pipe_name)
}

output "sinks" {
  description = "For each sink its queue, its dead letters, and the policy of who reads it: see modules/fanout."
  value       = local.sinks
}

output "alarm_names" {
  description = "The alarms, by what they watch."
  value       = module.alarms.alarm_names
}

output "dashboard_name" {
  description = "The table's dashboard."
  value       = module.alarms.dashboard_name
}
