mock_provider "aws" {
  source          = "../../mocks"
  override_during = plan
}

variables {
  lake = {
    name            = "shop"
    uri             = "s3://shop-111122223333-eu-central-1/lake"
    bucket          = "shop-111122223333-eu-central-1"
    bucket_arn      = "arn:aws:s3:::shop-111122223333-eu-central-1"
    prefix          = "lake"
    kms_key_arn     = "arn:aws:kms:eu-central-1:111122223333:key/11111111-2222-3333-4444-555555555555"
    database        = "shop"
    workgroup       = "shop"
    alarm_topic_arn = "arn:aws:sns:eu-central-1:111122223333:shop-alarms"
    role_names      = { compaction = "shop-compaction", verify = "shop-verify", backfill = "shop-backfill", redrive = "shop-redrive" }
    role_arns       = { for job in ["compaction", "verify", "backfill", "redrive"] : job => "arn:aws:iam::111122223333:role/shop-${job}" }
  }
  table_stream_arn  = "arn:aws:dynamodb:eu-central-1:111122223333:table/orders/stream/2026-01-01T00:00:00.000"
  indexer_role_name = "indexer"
}

run "plans" {
  command = plan
}
