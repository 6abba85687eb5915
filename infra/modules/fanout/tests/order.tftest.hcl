# Planned alone, the pipe brings along what it waits for. In a file of its own, for nothing must have been made before.

mock_provider "aws" {
  source = "../../mocks"
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
    role_names      = { redrive = "shop-redrive" }
    role_arns       = { redrive = "arn:aws:iam::111122223333:role/shop-redrive" }
  }
  name             = "orders"
  table_stream_arn = "arn:aws:dynamodb:eu-central-1:111122223333:table/orders/stream/2026-01-01T00:00:00.000"
  sinks            = { search = {} }
}

run "pipe_comes_last" {

  plan_options {
    target = [aws_pipes_pipe.this]
  }

  assert {
    condition     = can(output.sinks["search"].queue_url)
    error_message = "The pipe must wait for the sinks to be ready: events that no rule takes, or no queue lets in, are gone."
  }
}
