# Changes of one table: the Kinesis stream, and streaming into it, which begins when all that reads from its end is there.

data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}
data "aws_region" "current" {}

locals {
  name = "${var.lake.name}-${var.name}"
  via  = "${data.aws_region.current.name}.${data.aws_partition.current.dns_suffix}"
}

resource "aws_kinesis_stream" "this" {
  name             = local.name
  retention_period = var.retention_hours
  shard_count      = var.shards
  encryption_type  = "KMS"
  kms_key_id       = var.lake.kms_key_arn

  # Of each shard: a mean over all of them hides the one that is behind.
  shard_level_metrics = [
    "IncomingBytes",
    "IncomingRecords",
    "IteratorAgeMilliseconds",
    "OutgoingBytes",
    "OutgoingRecords",
    "ReadProvisionedThroughputExceeded",
    "WriteProvisionedThroughputExceeded",
  ]

  stream_mode_details {
    stream_mode = var.stream_mode
  }

  # With the stream goes what nobody has read yet, of up to a week; another name would be another stream. Once all of it
  # has landed, take the module out: then this does not hold it.
  lifecycle {
    prevent_destroy = true
  }
}

# Streaming begins behind Firehose, which begins at the end of the stream: what came before it, it would not deliver.
# The precondition is what makes it so. It asks for the ARN of Firehose, which is there once Firehose is.
resource "aws_dynamodb_kinesis_streaming_destination" "this" {
  table_name                               = var.table_name
  stream_arn                               = aws_kinesis_stream.this.arn
  approximate_creation_date_time_precision = "MICROSECOND"

  lifecycle {
    precondition {
      condition     = alltrue([for firehose in aws_kinesis_firehose_delivery_stream.this : firehose.arn != ""])
      error_message = "Firehose is to be there before streaming is enabled: it begins at the end of the stream."
    }
  }
}
