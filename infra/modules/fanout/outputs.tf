output "pipe_name" {
  description = "Name of the pipe, and of the event bus: pipe_name of modules/alarms."
  value       = aws_pipes_pipe.this.name
}

output "pipe_arn" {
  description = "ARN of the pipe."
  value       = aws_pipes_pipe.this.arn
}

output "event_bus_arn" {
  description = "ARN of the event bus."
  value       = aws_cloudwatch_event_bus.this.arn
}

output "dead_letter_queue_names" {
  description = "Names of all dead-letter queues here: into queue_names of modules/alarms."
  value       = concat([aws_sqs_queue.pipe.name, aws_sqs_queue.undelivered.name], [for name in sort(keys(var.sinks)) : aws_sqs_queue.dead[name].name])
}

output "sink_queue_names" {
  description = "Names of the queues that sinks read: sink_queue_names of modules/alarms."
  value       = [for name in sort(keys(var.sinks)) : aws_sqs_queue.sink[name].name]
}

output "sinks" {
  description = "For each sink its queue's ARN and URL, the ARN and URL of its dead letters, and the policy (JSON) that its consumer's role needs to read it."
  value = {
    for name in keys(var.sinks) : name => {
      queue_arn      = aws_sqs_queue.sink[name].arn
      queue_url      = aws_sqs_queue.sink[name].url
      dead_queue_arn = aws_sqs_queue.dead[name].arn
      dead_queue_url = aws_sqs_queue.dead[name].url
      reader_policy = jsonencode({
        Version = "2012-10-17"
        Statement = [
          {
            Sid      = "ReadTheQueue"
            Effect   = "Allow"
            Action   = ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:ChangeMessageVisibility", "sqs:GetQueueAttributes", "sqs:GetQueueUrl"]
            Resource = aws_sqs_queue.sink[name].arn
          },
          {
            Sid       = "DecryptMessages"
            Effect    = "Allow"
            Action    = ["kms:Decrypt"]
            Resource  = var.lake.kms_key_arn
            Condition = { StringEquals = { "kms:ViaService" = "sqs.${local.region}.${local.dns}" } }
          },
        ]
      })
    }
  }

  # Events come into the queue from then on.
  depends_on = [aws_cloudwatch_event_target.sink, aws_sqs_queue_policy.sink, aws_sqs_queue_policy.undelivered]
}

output "table_kms_key_arn" {
  description = "The key that the pipe may decrypt the stream with; null where that needs no right."
  value       = var.table_kms_key_arn
}
