# The queues: one for each sink, and three kinds of dead letters, told apart by what went wrong:
#
#   NAME-pipe         batches that the pipe gave up: where in the stream they are (DDBStreamBatchInfo), no items
#   NAME-undelivered  events that EventBridge could not put into a sink's queue, or not encrypt; ERROR_CODE is among the attributes
#   NAME-SINK-dead    events that the sink could not take in
#
# Only the redrive role reads dead letters. Who sends is told by aws:SourceArn alone, as AWS' examples do it ("Using resource-based
# policies for Amazon EventBridge"): the account is in it, and a condition that EventBridge does not fill in would refuse every event.

locals {
  seconds_kept = 14 * 86400 # the most that SQS takes

  dead_letter_readers = {
    Sid       = "OnlyRedriveReads"
    Effect    = "Deny"
    Principal = "*"
    Action = [
      "sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:ChangeMessageVisibility", "sqs:PurgeQueue", "sqs:StartMessageMoveTask",
    ]
    # Of a session it is the role's ARN ("AWS global condition context keys").
    Condition = { ArnNotEquals = { "aws:PrincipalArn" = var.lake.role_arns["redrive"] } }
  }
  encrypted_only = {
    Sid       = "OnlyEncryptedTransport"
    Effect    = "Deny"
    Principal = "*"
    Action    = ["sqs:SendMessage", "sqs:ReceiveMessage", "sqs:DeleteMessage"]
    Condition = { Bool = { "aws:SecureTransport" = "false" } }
  }
}

resource "aws_sqs_queue" "sink" {
  for_each = var.sinks

  name                              = "${local.full_name}-${each.key}"
  kms_master_key_id                 = var.lake.kms_key_arn
  kms_data_key_reuse_period_seconds = 300
  message_retention_seconds         = local.seconds_kept
  visibility_timeout_seconds        = each.value.visibility_seconds
  receive_wait_time_seconds         = 20

  redrive_policy = jsonencode({
    deadLetterTargetArn = aws_sqs_queue.dead[each.key].arn
    maxReceiveCount     = each.value.attempts
  })
}

resource "aws_sqs_queue" "dead" {
  for_each = var.sinks

  name                              = "${local.full_name}-${each.key}-dead"
  kms_master_key_id                 = var.lake.kms_key_arn
  kms_data_key_reuse_period_seconds = 300
  message_retention_seconds         = local.seconds_kept
}

resource "aws_sqs_queue" "undelivered" {
  name                              = "${local.full_name}-undelivered"
  kms_master_key_id                 = var.lake.kms_key_arn
  kms_data_key_reuse_period_seconds = 300
  message_retention_seconds         = local.seconds_kept
}

resource "aws_sqs_queue" "pipe" {
  name                              = "${local.full_name}-pipe"
  kms_master_key_id                 = var.lake.kms_key_arn
  kms_data_key_reuse_period_seconds = 300
  message_retention_seconds         = local.seconds_kept
}

resource "aws_sqs_queue_redrive_allow_policy" "dead" {
  for_each = var.sinks

  queue_url = aws_sqs_queue.dead[each.key].id
  redrive_allow_policy = jsonencode({
    redrivePermission = "byQueue"
    sourceQueueArns   = [aws_sqs_queue.sink[each.key].arn]
  })
}

resource "aws_sqs_queue_policy" "sink" {
  for_each = var.sinks

  queue_url = aws_sqs_queue.sink[each.key].id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      merge(local.encrypted_only, { Resource = aws_sqs_queue.sink[each.key].arn }),
      {
        Sid       = "TheRuleSends"
        Effect    = "Allow"
        Principal = { Service = "events.amazonaws.com" }
        Action    = ["sqs:SendMessage"]
        Resource  = aws_sqs_queue.sink[each.key].arn
        Condition = { ArnEquals = { "aws:SourceArn" = aws_cloudwatch_event_rule.sink[each.key].arn } }
      },
    ]
  })
}

resource "aws_sqs_queue_policy" "dead" {
  for_each = var.sinks

  queue_url = aws_sqs_queue.dead[each.key].id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      for statement in [local.encrypted_only, local.dead_letter_readers] :
      merge(statement, { Resource = aws_sqs_queue.dead[each.key].arn })
    ]
  })
}

resource "aws_sqs_queue_policy" "pipe" {
  queue_url = aws_sqs_queue.pipe.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      for statement in [local.encrypted_only, local.dead_letter_readers] :
      merge(statement, { Resource = aws_sqs_queue.pipe.arn })
    ]
  })
}

resource "aws_sqs_queue_policy" "undelivered" {
  queue_url = aws_sqs_queue.undelivered.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat(
      [
        for statement in [local.encrypted_only, local.dead_letter_readers] :
        merge(statement, { Resource = aws_sqs_queue.undelivered.arn })
      ],
      [{
        Sid       = "RulesAndBusSend"
        Effect    = "Allow"
        Principal = { Service = "events.amazonaws.com" }
        Action    = ["sqs:SendMessage"]
        Resource  = aws_sqs_queue.undelivered.arn
        Condition = {
          ArnEquals = {
            "aws:SourceArn" = concat([aws_cloudwatch_event_bus.this.arn], [for rule in aws_cloudwatch_event_rule.sink : rule.arn])
          }
        }
      }],
    )
  })
}
