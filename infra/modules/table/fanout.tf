# The fan-out of a table's own stream to sinks. The lake does not go by it: its changes come by the consumer.

module "fanout" {
  source = "../fanout"
  count  = var.surface == "pipe" ? 1 : 0

  lake              = var.lake
  name              = local.name
  table_stream_arn  = var.table_stream_arn
  table_kms_key_arn = var.table_kms_key_arn
  sinks             = var.sinks
  filter            = var.pipe_filter
  input_template    = var.pipe_input_template
}
