# Nothing of these is applied: a stream, which may not be destroyed, could not be cleaned up.
mock_provider "aws" {
  source          = "../../mocks"
  override_during = plan
}

variables {
  lake = {
    name            = "shop"
    uri             = "s3://shop-lake/lake"
    bucket          = "shop-lake"
    bucket_arn      = "arn:aws:s3:::shop-lake"
    prefix          = "lake"
    kms_key_arn     = "arn:aws:kms:eu-central-1:111122223333:key/11111111-2222-3333-4444-555555555555"
    database        = "shop"
    workgroup       = "shop"
    alarm_topic_arn = "arn:aws:sns:eu-central-1:111122223333:shop-alarms"
    role_names      = { compaction = "shop-compaction", verify = "shop-verify", backfill = "shop-backfill", redrive = "shop-redrive" }
    role_arns = {
      compaction = "arn:aws:iam::111122223333:role/shop-compaction"
      verify     = "arn:aws:iam::111122223333:role/shop-verify"
      backfill   = "arn:aws:iam::111122223333:role/shop-backfill"
      redrive    = "arn:aws:iam::111122223333:role/shop-redrive"
    }
  }
  name       = "orders"
  table_name = "orders"
}

# An ARN that is empty stands for a Firehose that is not there: streaming looks at it, so it comes behind.
run "enables_streaming_behind_firehose" {
  command = plan

  override_resource {
    target          = aws_kinesis_firehose_delivery_stream.this
    override_during = plan
    values          = { arn = "" }
  }
  expect_failures = [aws_dynamodb_kinesis_streaming_destination.this]
}
