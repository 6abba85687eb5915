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

run "keeps_streams_and_delivers_changes" {
  command = plan

  assert {
    condition     = aws_kinesis_stream.this.name == "shop-orders" && aws_kinesis_stream.this.retention_period == 168
    error_message = "A week's retention: what is not read in it is lost to the consumer."
  }
  assert {
    condition     = one(aws_kinesis_stream.this.stream_mode_details).stream_mode == "ON_DEMAND" && aws_kinesis_stream.this.shard_count == null
    error_message = "On demand unless told."
  }
  assert {
    condition     = aws_kinesis_stream.this.encryption_type == "KMS" && aws_kinesis_stream.this.kms_key_id == var.lake.kms_key_arn
    error_message = "Encrypted with the lake's key."
  }
  assert {
    condition     = contains(aws_kinesis_stream.this.shard_level_metrics, "IteratorAgeMilliseconds") && contains(aws_kinesis_stream.this.shard_level_metrics, "WriteProvisionedThroughputExceeded") && length(aws_kinesis_stream.this.shard_level_metrics) == 7
    error_message = "Metrics of each shard."
  }

  assert {
    condition     = length(regexall("resource \"aws_kinesis_stream\" \"this\" \\{(?s:.*?)\n  lifecycle \\{\\s*prevent_destroy = true", split("\nresource \"aws_dynamodb", file("main.tf"))[0])) == 1 && aws_kinesis_stream.this.name != ""
    error_message = "A stream must not be replaced with records in it that nobody has read."
  }

  # Streaming.
  assert {
    condition     = aws_dynamodb_kinesis_streaming_destination.this.approximate_creation_date_time_precision == "MICROSECOND"
    error_message = "Times in microseconds: in milliseconds more changes of an item are of one instant."
  }
  assert {
    condition     = aws_dynamodb_kinesis_streaming_destination.this.table_name == "orders" && aws_dynamodb_kinesis_streaming_destination.this.stream_arn == aws_kinesis_stream.this.arn
    error_message = "The table's changes go to this stream."
  }

  # Firehose delivers what compact reads.
  assert {
    condition     = one(aws_kinesis_firehose_delivery_stream.this[0].kinesis_source_configuration).kinesis_stream_arn == aws_kinesis_stream.this.arn && aws_kinesis_firehose_delivery_stream.this[0].destination == "extended_s3"
    error_message = "Firehose reads this stream, into S3."
  }
  assert {
    condition     = one(aws_kinesis_firehose_delivery_stream.this[0].extended_s3_configuration).prefix == "lake/raw/firehose/orders/!{timestamp:yyyy/MM/dd/HH}/"
    error_message = "Under raw/ of the lake, by date."
  }
  assert {
    condition     = one(aws_kinesis_firehose_delivery_stream.this[0].extended_s3_configuration).error_output_prefix == "firehose-errors/orders/!{firehose:error-output-type}/!{timestamp:yyyy/MM/dd}/"
    error_message = "Errors outside of the lake: under raw/ they would become dead letters."
  }
  assert {
    condition     = one(aws_kinesis_firehose_delivery_stream.this[0].extended_s3_configuration).compression_format == "GZIP"
    error_message = "GZIP: Snappy and ZIP are not read."
  }
  assert {
    condition     = one(aws_kinesis_firehose_delivery_stream.this[0].extended_s3_configuration).kms_key_arn == var.lake.kms_key_arn
    error_message = "Objects are encrypted with the lake's key."
  }
  assert {
    condition     = [for processor in one(one(aws_kinesis_firehose_delivery_stream.this[0].extended_s3_configuration).processing_configuration).processors : processor.type] == ["AppendDelimiterToRecord"] && one(one(aws_kinesis_firehose_delivery_stream.this[0].extended_s3_configuration).processing_configuration).enabled
    error_message = "A newline behind each record, and nothing else done to it."
  }
  assert {
    condition     = length(one(aws_kinesis_firehose_delivery_stream.this[0].extended_s3_configuration).data_format_conversion_configuration) == 0
    error_message = "No conversion: raw objects are the records themselves."
  }
  assert {
    condition     = one(aws_kinesis_firehose_delivery_stream.this[0].extended_s3_configuration).buffering_size == 128 && one(aws_kinesis_firehose_delivery_stream.this[0].extended_s3_configuration).buffering_interval == 300
    error_message = "Few large objects, five minutes behind at most."
  }
  assert {
    condition = one(one(aws_kinesis_firehose_delivery_stream.this[0].extended_s3_configuration).cloudwatch_logging_options) == {
      enabled         = true
      log_group_name  = "/aws/kinesisfirehose/shop-orders-raw"
      log_stream_name = "DestinationDelivery"
    }
    error_message = "What fails is logged."
  }
  assert {
    condition     = aws_cloudwatch_log_group.firehose[0].name == "/aws/kinesisfirehose/shop-orders-raw" && aws_cloudwatch_log_stream.firehose[0].name == "DestinationDelivery" && aws_cloudwatch_log_group.firehose[0].kms_key_id == var.lake.kms_key_arn
    error_message = "The group and the stream of logs are there, with the lake's key."
  }

  # It may deliver, and nothing more.
  assert {
    condition = {
      for statement in jsondecode(aws_iam_role_policy.firehose[0].policy).Statement : statement.Sid => [statement.Effect, statement.Action, statement.Resource, try(statement.Condition, null)]
      } == {
      Read    = ["Allow", ["kinesis:DescribeStream", "kinesis:GetRecords", "kinesis:GetShardIterator", "kinesis:ListShards"], [aws_kinesis_stream.this.arn], null]
      Bucket  = ["Allow", ["s3:GetBucketLocation", "s3:ListBucket", "s3:ListBucketMultipartUploads"], ["arn:aws:s3:::shop-lake"], null]
      Deliver = ["Allow", ["s3:AbortMultipartUpload", "s3:GetObject", "s3:PutObject"], ["arn:aws:s3:::shop-lake/lake/raw/firehose/orders/*", "arn:aws:s3:::shop-lake/firehose-errors/orders/*"], null]
      Key     = ["Allow", ["kms:Decrypt", "kms:GenerateDataKey"], [var.lake.kms_key_arn], { StringEquals = { "kms:ViaService" = ["kinesis.eu-central-1.amazonaws.com", "s3.eu-central-1.amazonaws.com"] } }]
      Log     = ["Allow", ["logs:PutLogEvents"], ["arn:aws:logs:eu-central-1:111122223333:log-group:mock:log-stream:DestinationDelivery"], null]
    }
    error_message = "It reads this stream, and delivers under its own prefixes."
  }
  assert {
    condition = jsondecode(aws_iam_role.firehose[0].assume_role_policy).Statement == [{
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { Service = "firehose.amazonaws.com" }
      Condition = { StringEquals = { "sts:ExternalId" = "111122223333" } }
    }]
    error_message = "Firehose takes the role, for this account alone."
  }
}

run "transforms_within_what_lambda_takes" {
  command = plan

  variables {
    transform  = true
    package    = "../function/tests/packages/capture-python3.13-x86_64.zip"
    secret_arn = "arn:aws:secretsmanager:eu-central-1:111122223333:secret:masks-AbCdEf"
  }
  assert {
    condition     = [for processor in one(one(aws_kinesis_firehose_delivery_stream.this[0].extended_s3_configuration).processing_configuration).processors : processor.type] == ["Lambda", "AppendDelimiterToRecord"]
    error_message = "Records go through our transformation first."
  }
  assert {
    condition = {
      for parameter in one(one(aws_kinesis_firehose_delivery_stream.this[0].extended_s3_configuration).processing_configuration).processors[0].parameters : parameter.parameter_name => parameter.parameter_value
      } == {
      LambdaArn       = "arn:aws:lambda:eu-central-1:111122223333:function:mock:$LATEST"
      NumberOfRetries = "60"
    }
    error_message = "Tried often enough, by batches of 1 MB, which fit into 6: that is Firehose's own size, and is left out, or every plan would change it."
  }
  assert {
    condition     = output.transform_name == "shop-orders-transform" && module.transform[0].handler == "ingest.handlers.firehose_handler"
    error_message = "It is the transformation that is called."
  }
  assert {
    condition = [
      for statement in jsondecode(aws_iam_role_policy.firehose[0].policy).Statement : [statement.Action, statement.Resource] if statement.Sid == "Transform"
    ] == [[["lambda:GetFunctionConfiguration", "lambda:InvokeFunction"], ["arn:aws:lambda:eu-central-1:111122223333:function:mock", "arn:aws:lambda:eu-central-1:111122223333:function:mock:$LATEST"]]]
    error_message = "Firehose may call this function alone."
  }
}

run "transforms_by_other_batches" {
  command = plan

  variables {
    transform                = true
    package                  = "../function/tests/packages/capture-python3.13-x86_64.zip"
    transform_buffer_mb      = 0.5
    transform_buffer_seconds = 30
    transform_retries        = 3
  }
  assert {
    condition = {
      for parameter in one(one(aws_kinesis_firehose_delivery_stream.this[0].extended_s3_configuration).processing_configuration).processors[0].parameters : parameter.parameter_name => parameter.parameter_value
      } == {
      LambdaArn               = "arn:aws:lambda:eu-central-1:111122223333:function:mock:$LATEST"
      BufferSizeInMBs         = "0.5"
      BufferIntervalInSeconds = "30"
    }
    error_message = "What is other than Firehose's own is told."
  }
}

run "streams_without_firehose" {
  command = plan

  variables {
    firehose    = false
    stream_mode = "PROVISIONED"
    shards      = 2
  }
  assert {
    condition     = length(aws_kinesis_firehose_delivery_stream.this) == 0 && output.firehose_name == null && output.transform_name == null
    error_message = "Firehose may be left out."
  }
  assert {
    condition     = aws_kinesis_stream.this.shard_count == 2 && one(aws_kinesis_stream.this.stream_mode_details).stream_mode == "PROVISIONED"
    error_message = "Shards as told."
  }
}

run "refuses_masks_without_the_transformation" {
  command = plan
  variables {
    secret_arn = "arn:aws:secretsmanager:eu-central-1:111122223333:secret:masks-AbCdEf"
  }
  expect_failures = [var.transform]
}

run "refuses_what_loses_or_overflows" {
  command = plan
  variables {
    retention_hours     = 24
    buffer_mb           = 1
    buffer_seconds      = 0
    transform_buffer_mb = 3
    transform_retries   = 0
    shards              = 2
  }
  expect_failures = [var.retention_hours, var.buffer_mb, var.buffer_seconds, var.transform_buffer_mb, var.transform_retries, var.shards]
}
