# The dead-letter queue: ranges of the stream that the mapping gave up. It is there in any case, so that to change
# on_failure leaves what is in it. Whoever reads it may delete from it: so nobody does but who redrives.

resource "aws_sqs_queue" "failures" {
  name                              = "${var.lake.name}-${var.name}-failures"
  kms_master_key_id                 = var.lake.kms_key_arn
  kms_data_key_reuse_period_seconds = 300
  message_retention_seconds         = 1209600 # two weeks, SQS' most: longer than the stream keeps what they name
  visibility_timeout_seconds        = var.visibility_seconds
}

# Only denials: rights come from roles.
resource "aws_sqs_queue_policy" "failures" {
  queue_url = aws_sqs_queue.failures.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid       = "RedriveAlone"
        Effect    = "Deny"
        Principal = "*"
        Action    = ["sqs:ChangeMessageVisibility", "sqs:DeleteMessage", "sqs:PurgeQueue", "sqs:ReceiveMessage"]
        Resource  = aws_sqs_queue.failures.arn
        Condition = { ArnNotEquals = { "aws:PrincipalArn" = var.lake.role_arns["redrive"] } }
      },
      {
        Sid       = "TLS"
        Effect    = "Deny"
        Principal = "*"
        Action    = ["sqs:ChangeMessageVisibility", "sqs:DeleteMessage", "sqs:ReceiveMessage", "sqs:SendMessage"]
        Resource  = aws_sqs_queue.failures.arn
        Condition = { Bool = { "aws:SecureTransport" = "false" } }
      },
    ]
  })
}
