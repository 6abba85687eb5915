output "function_name" {
  description = "The function's name."
  value       = module.function.name
}

output "mapping_uuid" {
  description = "The mapping's id: its own metrics bear it, and batches given up to the bucket lie under it."
  value       = aws_lambda_event_source_mapping.this.uuid
}

output "queue_name" {
  description = "The dead-letter queue's name: any message in it is an alarm."
  value       = aws_sqs_queue.failures.name
}

output "queue_arn" {
  description = "The dead-letter queue's ARN."
  value       = aws_sqs_queue.failures.arn
}

output "queue_url" {
  description = "The dead-letter queue, for `redrive --queue`."
  value       = aws_sqs_queue.failures.url
}

output "failures_prefix" {
  description = "Where in the bucket batches lie that were given up to it, for `redrive --from`."
  value       = "aws/lambda/${aws_lambda_event_source_mapping.this.uuid}/"
}

output "record_age_seconds" {
  description = "How old a record may get before it is given up. Alarms on the age of the oldest record must come well before."
  value       = local.record_age_seconds
}

output "on_failure" {
  description = "Where batches go that are given up: queue or bucket."
  value       = var.on_failure
}

output "raw_prefix" {
  description = "Where in the bucket records land, and the function may write."
  value       = "${var.lake.prefix}/raw/stream=${var.stream_name}/"
}

output "secret_arn" {
  description = "The secret of masks that the function may open; null where it may open none."
  value       = module.function.secret_arn
}

output "stream_kms_key_arn" {
  description = "The key that the function may decrypt the stream with; null where that needs no right."
  value       = local.stream_key
}
