output "stream_name" {
  description = "The Kinesis stream's name: records land under raw/stream=NAME/, and metrics bear it as Stream."
  value       = aws_kinesis_stream.this.name
}

output "stream_arn" {
  description = "The Kinesis stream's ARN."
  value       = aws_kinesis_stream.this.arn
}

output "retention_hours" {
  description = "How long the stream keeps a record."
  value       = aws_kinesis_stream.this.retention_period
}

output "firehose_name" {
  description = "The delivery stream's name; null where there is none."
  value       = one(aws_kinesis_firehose_delivery_stream.this[*].name)
}

output "transform_name" {
  description = "The name of the transformation's function; null where there is none."
  value       = one(module.transform[*].name)
}

output "error_prefix" {
  description = "Where in the bucket Firehose puts what it could not deliver, unmasked: for `redrive --from`."
  value       = local.error_prefix
}

output "transform_secret_arn" {
  description = "The secret of masks that the transformation may open; null where it may open none."
  value       = one(module.transform[*].secret_arn)
}
