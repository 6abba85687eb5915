# Nothing of these is applied: what may not be destroyed could not be cleaned up.
mock_provider "aws" {
  source          = "../../mocks"
  override_during = plan
}

variables {
  name = "shop"
}

run "the_bucket_keeps_and_hides_what_it_holds" {
  command = plan

  assert {
    condition     = aws_s3_bucket.lake.bucket == "shop-111122223333-eu-central-1" && !aws_s3_bucket.lake.force_destroy
    error_message = "The bucket is of this account and Region, and is not emptied by a destroy."
  }
  assert {
    condition     = aws_s3_bucket_versioning.lake.versioning_configuration[0].status == "Enabled"
    error_message = "Versions are the backup."
  }
  assert {
    condition = alltrue([
      aws_s3_bucket_public_access_block.lake.block_public_acls, aws_s3_bucket_public_access_block.lake.block_public_policy,
      aws_s3_bucket_public_access_block.lake.ignore_public_acls, aws_s3_bucket_public_access_block.lake.restrict_public_buckets,
    ])
    error_message = "All four blocks of public access are on."
  }
  assert {
    condition     = aws_s3_bucket_ownership_controls.lake.rule[0].object_ownership == "BucketOwnerEnforced"
    error_message = "No access lists."
  }
  assert {
    condition = alltrue([
      one(one(aws_s3_bucket_server_side_encryption_configuration.lake.rule).apply_server_side_encryption_by_default).sse_algorithm == "aws:kms",
      one(one(aws_s3_bucket_server_side_encryption_configuration.lake.rule).apply_server_side_encryption_by_default).kms_master_key_id == aws_kms_key.lake.arn,
      one(aws_s3_bucket_server_side_encryption_configuration.lake.rule).bucket_key_enabled,
    ])
    error_message = "Objects are encrypted with the lake's key."
  }
  assert {
    condition = jsondecode(aws_s3_bucket_policy.lake.policy).Statement == [{
      Sid       = "OnlyByTLS"
      Effect    = "Deny"
      Principal = "*"
      Action    = "s3:*"
      Resource  = ["arn:aws:s3:::mock-bucket", "arn:aws:s3:::mock-bucket/*"]
      Condition = { Bool = { "aws:SecureTransport" = "false" } }
    }]
    error_message = "The bucket's policy denies what comes without TLS, and allows nobody."
  }
  assert {
    condition     = length(regexall("resource \"aws_s3_bucket\" \"lake\" \\{[^}]*lifecycle \\{\\s*prevent_destroy = true", file("bucket.tf"))) == 1 && aws_s3_bucket.lake.bucket != ""
    error_message = "The bucket may not be destroyed."
  }
  assert {
    condition     = length(regexall("\\n  lifecycle \\{\\s*prevent_destroy = true", file("key.tf"))) == 1 && aws_kms_key.lake.arn != ""
    error_message = "The key may not be destroyed."
  }
  assert {
    condition     = length(regexall("lifecycle \\{\\s*prevent_destroy = true", file("catalog.tf"))) == 1 && aws_glue_catalog_database.lake.name != ""
    error_message = "The database of the tables may not be destroyed."
  }
}

run "lifecycle_rules_never_touch_files_of_tables" {
  command = plan

  variables {
    prefix              = "data/lake"
    failed_record_days  = 90
    raw_transition_days = 60
  }

  # What the lake keeps, each as S3 compares it: a rule matches where its prefix is the beginning of the key.
  assert {
    condition = alltrue(flatten([
      for rule in aws_s3_bucket_lifecycle_configuration.lake.rule : [
        for key in [
          "data/lake/warehouse/lake/orders/data/a.parquet", "data/lake/warehouse/lake/orders/metadata/1.metadata.json",
          "data/lake/lake.toml", "data/lake/masks.check", "data/lake/views.athena.json", "data/lake/raw/2026/01/01/00/a.gz",
          "data/lake/dead_letters/orders/a.ndjson.gz", "data/lake/redrives/a.json", "data/lake/backfills/orders/000001.json",
          "data/lake/exports/orders/a.done", "data/lake/proofs/orders/1.json", "data/lake/locks/compact-orders.json",
        ] : !startswith(key, try(rule.filter[0].prefix, null) == null ? "" : rule.filter[0].prefix)
      ] if length(rule.expiration) > 0
    ]))
    error_message = "No rule expires anything of the lake."
  }
  assert {
    condition = alltrue(flatten([
      for rule in aws_s3_bucket_lifecycle_configuration.lake.rule : [
        for key in ["data/lake/warehouse/lake/orders/data/a.parquet", "data/lake/warehouse/lake/raw/data/a.parquet", "data/lake/lake.toml"] :
        !startswith(key, try(rule.filter[0].prefix, null) == null ? "" : rule.filter[0].prefix)
      ] if length(rule.transition) > 0
    ]))
    error_message = "No rule moves files of a table to where they cost for each reading, or cannot be read."
  }
  assert {
    condition     = alltrue([for rule in aws_s3_bucket_lifecycle_configuration.lake.rule : length(rule.noncurrent_version_transition) == 0])
    error_message = "Old versions stay where they can be had at once."
  }
  assert {
    condition = {
      for rule in aws_s3_bucket_lifecycle_configuration.lake.rule : rule.filter[0].prefix => rule.expiration[0].days if length(rule.expiration) > 0
    } == { "athena-results/" = 30, "dynamodb-exports/" = 14, "firehose-errors/" = 90, "aws/lambda/" = 90 }
    error_message = "What may expire, and when."
  }
  assert {
    condition = [
      for rule in aws_s3_bucket_lifecycle_configuration.lake.rule : "${rule.filter[0].prefix} ${one(rule.transition).storage_class} ${one(rule.transition).days}" if length(rule.transition) > 0
    ] == ["data/lake/raw/ STANDARD_IA 60"]
    error_message = "Only raw objects move, to where they can be read at once."
  }
  assert {
    condition     = one([for rule in aws_s3_bucket_lifecycle_configuration.lake.rule : rule.noncurrent_version_expiration[0].noncurrent_days if length(rule.noncurrent_version_expiration) > 0]) == 30
    error_message = "What was overwritten or deleted stays for 30 days."
  }
  assert {
    condition     = one([for rule in aws_s3_bucket_lifecycle_configuration.lake.rule : rule.abort_incomplete_multipart_upload[0].days_after_initiation if length(rule.abort_incomplete_multipart_upload) > 0]) == 7
    error_message = "Unfinished uploads do not stay for ever."
  }
  assert {
    condition     = alltrue([for rule in aws_s3_bucket_lifecycle_configuration.lake.rule : rule.status == "Enabled"])
    error_message = "Every rule is on."
  }
}

run "failed_records_and_raw_objects_stay_unless_told" {
  command = plan

  assert {
    condition     = toset([for rule in aws_s3_bucket_lifecycle_configuration.lake.rule : rule.filter[0].prefix if length(rule.expiration) > 0]) == toset(["athena-results/", "dynamodb-exports/"])
    error_message = "Records that failed are the only copy of changes."
  }
  assert {
    condition     = alltrue([for rule in aws_s3_bucket_lifecycle_configuration.lake.rule : length(rule.transition) == 0])
    error_message = "Raw objects stay where they are."
  }
}

run "a_lake_below_a_place_that_expires_is_refused" {
  command = plan

  variables {
    prefix = "athena-results/lake"
  }

  expect_failures = [var.prefix]
}

run "a_lake_among_the_failures_of_lambda_is_refused" {
  command = plan

  variables {
    prefix = "aws"
  }

  expect_failures = [var.prefix]
}

run "limits_that_lose_data_are_refused" {
  command = plan

  variables {
    noncurrent_days     = 1
    failed_record_days  = 3
    raw_transition_days = 1
    export_days         = 1
  }

  expect_failures = [var.noncurrent_days, var.failed_record_days, var.raw_transition_days, var.export_days]
}
