# Where the tables are is said by each table, as dynalake makes it. The databases name no place: one inside the lake
# would have other programs put their tables among its files.

resource "aws_glue_catalog_database" "lake" {
  name        = local.database
  description = "Tables of the lake ${var.name}; dynalake alone writes them"

  lifecycle {
    prevent_destroy = true # with it goes what says which files are the tables
  }
}

resource "aws_glue_catalog_database" "views" {
  name        = local.views_database
  description = "Views of the lake ${var.name}, made by dynalake publish athena"
}

resource "aws_athena_workgroup" "lake" {
  name        = var.name
  description = "Queries of the lake ${var.name}"
  state       = "ENABLED"

  configuration {
    enforce_workgroup_configuration    = true # or a client's settings would send results elsewhere, unencrypted
    publish_cloudwatch_metrics_enabled = true
    bytes_scanned_cutoff_per_query     = var.scan_limit_gb * pow(1024, 3)

    engine_version {
      selected_engine_version = "Athena engine version 3" # views name snapshots, which older ones do not read
    }

    result_configuration {
      output_location       = "s3://${aws_s3_bucket.lake.bucket}/${local.results}/"
      expected_bucket_owner = local.account

      encryption_configuration {
        encryption_option = "SSE_KMS"
        kms_key_arn       = aws_kms_key.lake.arn
      }
    }
  }
}
