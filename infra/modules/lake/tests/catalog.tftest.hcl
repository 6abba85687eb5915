mock_provider "aws" {
  source          = "../../mocks"
  override_during = plan
}

variables {
  name = "web-shop"
}

run "queries_are_bounded_and_names_fit" {
  command = plan

  assert {
    condition     = aws_athena_workgroup.lake.configuration[0].enforce_workgroup_configuration
    error_message = "A client's own settings must not send results elsewhere."
  }
  assert {
    condition = alltrue([
      aws_athena_workgroup.lake.configuration[0].result_configuration[0].encryption_configuration[0].encryption_option == "SSE_KMS",
      aws_athena_workgroup.lake.configuration[0].result_configuration[0].encryption_configuration[0].kms_key_arn == aws_kms_key.lake.arn,
    ])
    error_message = "Results are encrypted with the lake's key."
  }
  assert {
    condition     = aws_athena_workgroup.lake.configuration[0].result_configuration[0].output_location == "s3://web-shop-111122223333-eu-central-1/athena-results/"
    error_message = "Results lie beside the lake, where they expire."
  }
  assert {
    condition     = aws_athena_workgroup.lake.configuration[0].result_configuration[0].expected_bucket_owner == "111122223333"
    error_message = "In a bucket of this account."
  }
  assert {
    condition     = aws_athena_workgroup.lake.configuration[0].bytes_scanned_cutoff_per_query == 107374182400
    error_message = "A query is stopped at 100 GB."
  }
  assert {
    condition     = aws_athena_workgroup.lake.configuration[0].engine_version[0].selected_engine_version == "Athena engine version 3"
    error_message = "Views name snapshots."
  }
  assert {
    condition     = aws_glue_catalog_database.lake.name == "web_shop" && aws_glue_catalog_database.views.name == "web_shop_views"
    error_message = "Athena takes no dashes; publish puts views into DATABASE_views."
  }
  assert {
    condition     = aws_glue_catalog_database.lake.location_uri == null || aws_glue_catalog_database.lake.location_uri != "s3://web-shop-111122223333-eu-central-1/lake/warehouse"
    error_message = "No other program puts its tables among the lake's files."
  }
  assert {
    condition     = output.init == "dynalake --lake s3://web-shop-111122223333-eu-central-1/lake init --database web_shop"
    error_message = "The command that makes the lake."
  }
  assert {
    condition = output.lake == {
      name            = "web-shop"
      uri             = "s3://web-shop-111122223333-eu-central-1/lake"
      bucket          = "web-shop-111122223333-eu-central-1"
      bucket_arn      = "arn:aws:s3:::mock-bucket"
      prefix          = "lake"
      kms_key_arn     = "arn:aws:kms:eu-central-1:111122223333:key/11111111-2222-3333-4444-555555555555"
      database        = "web_shop"
      workgroup       = "web-shop"
      alarm_topic_arn = "arn:aws:sns:eu-central-1:111122223333:mock"
      role_names      = { compaction = "web-shop-compaction", verify = "web-shop-verify", backfill = "web-shop-backfill", redrive = "web-shop-redrive" }
      role_arns       = { for name in ["compaction", "verify", "backfill", "redrive"] : name => "arn:aws:iam::111122223333:role/mock" }
    }
    error_message = "The object that modules pass."
  }
}

run "names_that_aws_or_athena_would_refuse" {
  command = plan

  variables {
    name          = "Web_Shop"
    database      = "web-shop"
    scan_limit_gb = 0
    result_days   = 0
  }

  expect_failures = [var.name, var.database, var.scan_limit_gb, var.result_days]
}
