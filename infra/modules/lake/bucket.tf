resource "aws_s3_bucket" "lake" {
  #checkov:skip=CKV_AWS_18:who read what is for CloudTrail's data events, of the whole account; access logs would need a bucket without this key
  #checkov:skip=CKV_AWS_144:a copy in another Region would be of files only, without the catalog that says which of them are the tables; versions are the backup
  #checkov:skip=CKV2_AWS_62:nothing waits for single objects; jobs list what is new
  bucket        = local.bucket
  force_destroy = false

  lifecycle {
    prevent_destroy = true # what was captured can be had from nowhere else once it has left the stream
  }
}

resource "aws_s3_bucket_public_access_block" "lake" {
  bucket                  = aws_s3_bucket.lake.id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_ownership_controls" "lake" {
  bucket = aws_s3_bucket.lake.id

  rule {
    object_ownership = "BucketOwnerEnforced" # no access lists at all
  }
}

resource "aws_s3_bucket_versioning" "lake" {
  bucket = aws_s3_bucket.lake.id

  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "lake" {
  bucket = aws_s3_bucket.lake.id

  rule {
    bucket_key_enabled = true # one call to KMS for many objects: jobs read thousands

    apply_server_side_encryption_by_default {
      sse_algorithm     = "aws:kms"
      kms_master_key_id = aws_kms_key.lake.arn
    }
  }
}

resource "aws_s3_bucket_policy" "lake" {
  bucket = aws_s3_bucket.lake.id

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "OnlyByTLS"
      Effect    = "Deny"
      Principal = "*"
      Action    = "s3:*" # denied is all there is, and what S3 may add
      Resource  = [aws_s3_bucket.lake.arn, "${aws_s3_bucket.lake.arn}/*"]
      Condition = { Bool = { "aws:SecureTransport" = "false" } }
    }]
  })

  depends_on = [aws_s3_bucket_public_access_block.lake] # S3 refuses two changes of these at a time
}

locals {
  # Prefixes whose objects are deleted after so many days. All of them lie beside the lake.
  expiring = merge(
    { "${local.results}/" = var.result_days, "${local.exports}/" = var.export_days },
    { for place in local.failures : place => var.failed_record_days if var.failed_record_days != null },
  )
}

# No rule may delete, or move to where it cannot be read at once, what is a file of a table: only the catalog knows
# which those are, and their age says nothing.
resource "aws_s3_bucket_lifecycle_configuration" "lake" {
  bucket = aws_s3_bucket.lake.id

  rule {
    id     = "unfinished-uploads"
    status = "Enabled"
    filter {}

    abort_incomplete_multipart_upload {
      days_after_initiation = 7 # a job is done, or dead, within a day
    }
  }

  rule {
    id     = "noncurrent-versions"
    status = "Enabled"
    filter {}

    noncurrent_version_expiration {
      noncurrent_days = var.noncurrent_days
    }
  }

  dynamic "rule" {
    for_each = local.expiring

    content {
      id     = "expire-${replace(trimsuffix(rule.key, "/"), "/", "-")}"
      status = "Enabled"

      filter {
        prefix = rule.key
      }

      expiration {
        days = rule.value
      }
    }
  }

  dynamic "rule" {
    for_each = var.raw_transition_days[*]

    content {
      id     = "raw-to-infrequent-access"
      status = "Enabled"

      filter {
        prefix = "${var.prefix}/raw/"
      }

      transition {
        days          = rule.value
        storage_class = "STANDARD_IA" # read at once; an archive would stop every job that lists it
      }
    }
  }

  depends_on = [aws_s3_bucket_versioning.lake]
}
