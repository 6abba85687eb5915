# Changes of a table into a Kinesis stream, and by Firehose into the lake, through our transformation: the lake has masks.

module "lake" {
  source = "../../modules/lake"
  name   = "shop"

  mask_secret_arn = aws_secretsmanager_secret.masks.arn
}

resource "aws_secretsmanager_secret" "masks" {
  #checkov:skip=CKV2_AWS_57:It never changes under a lake: equal values would come out different
  #checkov:skip=CKV_AWS_149:It is encrypted with a key of AWS' here; name yours in kms_key_id, and in secret_kms_key_arn
  name = "shop-masks" # its value: openssl rand -hex 32
}

module "stream" {
  source = "../../modules/stream"

  lake       = module.lake.lake
  name       = "customers"
  table_name = "customers"
  transform  = true
  package    = var.package
  secret_arn = aws_secretsmanager_secret.masks.arn

  # An even load that is known: cheaper than on demand (`dynalake size`).
  stream_mode = "PROVISIONED"
  shards      = 2
}
