# One lake: a bucket, its key, the catalog of its tables, where it is queried, where alarms go, and who may do what.

data "aws_caller_identity" "current" {}
data "aws_region" "current" {}
data "aws_partition" "current" {}

locals {
  account        = data.aws_caller_identity.current.account_id
  region         = data.aws_region.current.name
  partition      = data.aws_partition.current.partition
  dns            = data.aws_partition.current.dns_suffix
  bucket         = coalesce(var.bucket, "${var.name}-${local.account}-${local.region}")
  database       = coalesce(var.database, replace(var.name, "-", "_"))
  views_database = "${local.database}_views" # as `dynalake publish athena` names it

  # Beside the lake's prefix; Lambda's place for what failed is its own and cannot be chosen.
  results  = "athena-results"
  exports  = "dynamodb-exports"
  failures = ["firehose-errors/", "aws/lambda/"]
}
