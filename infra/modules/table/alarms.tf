# Whatever is there is watched.

module "alarms" {
  source = "../alarms"

  lake               = var.lake
  name               = local.name
  table_name         = var.table_name
  surface            = var.surface
  stream_name        = one(module.stream[*].stream_name)
  firehose_name      = one(module.stream[*].firehose_name)
  function_names     = local.function_names
  mapping_uuid       = one(module.consumer[*].mapping_uuid)
  record_age_seconds = one(module.consumer[*].record_age_seconds)
  queue_names        = local.dead_letter_queues
  sink_queue_names   = flatten(module.fanout[*].sink_queue_names)
  pipe_name          = one(module.fanout[*].pipe_name)
  thresholds         = var.thresholds
}
