# One table: its changes into the lake by the surface it is captured on, watched, and the rights of the jobs on it.
#
#   kds       table ─▶ Kinesis ─┬▶ Firehose ─▶ raw/        streams   table's stream ─▶ consumer ─▶ raw/
#                               └▶ consumer ─▶ raw/        pipe      the same, and ─▶ pipe ─▶ bus ─▶ a queue for each sink

locals {
  name           = coalesce(var.name, replace(var.table_name, ".", "-"))
  is_kds         = var.surface == "kds"
  has_firehose   = local.is_kds && contains(var.paths, "firehose")
  has_consumer   = !local.is_kds || contains(var.paths, "consumer")
  stream_arn     = local.is_kds ? one(module.stream[*].stream_arn) : var.table_stream_arn
  function_names = merge({ for name in module.consumer[*].function_name : "consumer" => name }, { for name in module.stream[*].transform_name : "transform" => name if var.transform })
}

module "stream" {
  source = "../stream"
  count  = local.is_kds ? 1 : 0

  lake               = var.lake
  name               = local.name
  table_name         = var.table_name
  stream_mode        = var.stream_mode
  shards             = var.shards
  retention_hours    = var.retention_hours
  firehose           = local.has_firehose
  transform          = var.transform
  package            = var.package
  secret_arn         = var.secret_arn
  secret_kms_key_arn = var.secret_kms_key_arn
  poison_queue_arn   = var.poison_queue_arn
  buffer_mb          = var.buffer_mb
  buffer_seconds     = var.buffer_seconds
  log_retention_days = var.log_retention_days
}

module "consumer" {
  source = "../consumer"
  count  = local.has_consumer ? 1 : 0

  lake                 = var.lake
  name                 = local.name
  kind                 = local.is_kds ? "kinesis" : "dynamodb"
  stream_arn           = local.stream_arn
  stream_name          = local.is_kds ? one(module.stream[*].stream_name) : var.table_name
  stream_kms_key_arn   = local.is_kds ? null : var.table_kms_key_arn
  retention_hours      = local.is_kds ? one(module.stream[*].retention_hours) : 24
  on_failure           = coalesce(var.on_failure, local.is_kds ? "queue" : "bucket")
  package              = var.package
  secret_arn           = var.secret_arn
  secret_kms_key_arn   = var.secret_kms_key_arn
  poison_queue_arn     = var.poison_queue_arn
  record_age_seconds   = var.record_age_seconds
  attempts             = var.attempts
  batch_size           = var.batch_size
  batch_seconds        = var.batch_seconds
  parallel             = var.parallel
  memory_mb            = var.memory_mb
  reserved_concurrency = var.reserved_concurrency
  log_retention_days   = var.log_retention_days
}
