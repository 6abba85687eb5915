# A consumer of a Kinesis stream that is there already, and keeps records for a week.

module "lake" {
  source = "../../modules/lake"
  name   = "shop"
}

resource "aws_kinesis_stream" "changes" {
  name             = "changes"
  retention_period = 168
  encryption_type  = "KMS"
  kms_key_id       = module.lake.lake.kms_key_arn

  stream_mode_details {
    stream_mode = "ON_DEMAND"
  }
}

module "consumer" {
  source = "../../modules/consumer"

  lake            = module.lake.lake
  name            = "changes"
  kind            = "kinesis"
  stream_arn      = aws_kinesis_stream.changes.arn
  stream_name     = aws_kinesis_stream.changes.name
  retention_hours = aws_kinesis_stream.changes.retention_period
  on_failure      = "queue"
  package         = var.package
}
