output "lake" {
  description = "What the other modules take as their input `lake`."
  value = {
    name            = var.name
    uri             = "s3://${aws_s3_bucket.lake.bucket}/${var.prefix}"
    bucket          = aws_s3_bucket.lake.bucket
    bucket_arn      = aws_s3_bucket.lake.arn
    prefix          = var.prefix
    kms_key_arn     = aws_kms_key.lake.arn
    database        = aws_glue_catalog_database.lake.name
    workgroup       = aws_athena_workgroup.lake.name
    alarm_topic_arn = aws_sns_topic.alarms.arn
    role_names      = { for name, role in aws_iam_role.job : name => role.name }
    role_arns       = { for name, role in aws_iam_role.job : name => role.arn }
  }

  # Nothing is to land before it is encrypted, kept by versions, and closed to the public.
  depends_on = [
    aws_s3_bucket_ownership_controls.lake, aws_s3_bucket_policy.lake, aws_s3_bucket_public_access_block.lake,
    aws_s3_bucket_server_side_encryption_configuration.lake, aws_s3_bucket_versioning.lake, aws_sns_topic_policy.alarms,
  ]
}

output "init" {
  description = "The command that makes the lake in it."
  value       = "dynalake --lake s3://${aws_s3_bucket.lake.bucket}/${var.prefix} init --database ${aws_glue_catalog_database.lake.name}"
}

output "views_database" {
  description = "Where `dynalake publish athena --workgroup NAME` puts its views."
  value       = aws_glue_catalog_database.views.name
}

output "analyst_policy_arn" {
  description = "The policy of who asks the lake."
  value       = aws_iam_policy.analyst.arn
}

output "enabling_policy_arn" {
  description = "The policy of who switches streaming on; null where enabling_table_arns is empty."
  value       = one(aws_iam_policy.enabling[*].arn)
}
