# What the pipe may do, and what the lake's redrive role may do with the dead letters here.

resource "aws_iam_role" "pipe" {
  name        = "${local.full_name}-pipe"
  description = "Pipe ${local.full_name}: reads the table's stream, puts events on its bus"

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "pipes.amazonaws.com" }
      Action    = ["sts:AssumeRole"]
      Condition = {
        StringEquals = { "aws:SourceAccount" = local.account }
        ArnEquals    = { "aws:SourceArn" = local.pipe_arn }
      }
    }]
  })
}

resource "aws_iam_role_policy" "pipe" {
  name = "pipe"
  role = aws_iam_role.pipe.id

  # Rights as in "Event source permissions for Amazon EventBridge Pipes".
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat(
      [
        {
          Sid      = "ReadTheStream"
          Effect   = "Allow"
          Action   = ["dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator"]
          Resource = var.table_stream_arn
        },
        {
          # It has no finer resource than the streams of the table.
          Sid      = "FindTheStream"
          Effect   = "Allow"
          Action   = ["dynamodb:ListStreams"]
          Resource = "${local.table_arn}/stream/*"
        },
        {
          Sid      = "PutEvents"
          Effect   = "Allow"
          Action   = ["events:PutEvents"]
          Resource = aws_cloudwatch_event_bus.this.arn
        },
        {
          Sid      = "TellWhatWasGivenUp"
          Effect   = "Allow"
          Action   = ["sqs:SendMessage"]
          Resource = aws_sqs_queue.pipe.arn
        },
        {
          Sid       = "EncryptMessages"
          Effect    = "Allow"
          Action    = ["kms:Decrypt", "kms:GenerateDataKey"]
          Resource  = var.lake.kms_key_arn
          Condition = { StringEquals = { "kms:ViaService" = "sqs.${local.region}.${local.dns}" } }
        },
      ],
      [
        for key in var.table_kms_key_arn == null ? [] : [var.table_kms_key_arn] : {
          Sid       = "DecryptTheStream"
          Effect    = "Allow"
          Action    = ["kms:Decrypt"]
          Resource  = key
          Condition = { StringEquals = { "kms:ViaService" = "dynamodb.${local.region}.${local.dns}" } }
        }
      ],
    )
  })
}

locals {
  dead_letter_queues = merge({ pipe = aws_sqs_queue.pipe, undelivered = aws_sqs_queue.undelivered }, {
    for name, queue in aws_sqs_queue.dead : "${name}-dead" => queue
  })
}

# The use of the lake's key comes with the role. Keep this short: all that a role is given may have 10,240 characters.
resource "aws_iam_role_policy" "redrive" {
  name = "${local.full_name}-fanout"
  role = var.lake.role_names["redrive"]

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid    = "ReadDeadLetters"
        Effect = "Allow"
        Action = [
          "sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:ChangeMessageVisibility", "sqs:GetQueueAttributes", "sqs:GetQueueUrl",
          "sqs:StartMessageMoveTask", "sqs:ListMessageMoveTasks", "sqs:CancelMessageMoveTask",
        ]
        Resource = [for name in sort(keys(local.dead_letter_queues)) : local.dead_letter_queues[name].arn]
      },
      {
        Sid      = "GiveBackToSinks"
        Effect   = "Allow"
        Action   = ["sqs:SendMessage"]
        Resource = [for name in sort(keys(var.sinks)) : aws_sqs_queue.sink[name].arn]
      },
    ]
  })
}
