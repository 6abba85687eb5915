# Dead-letter queues, and the queues that sinks read.

locals {
  watched_queues = merge(
    {
      for name in var.queue_names : "queue-${name}" => {
        when = true
        metric = {
          namespace = "AWS/SQS", name = "ApproximateNumberOfMessagesVisible", dimensions = { QueueName = name }, statistic = "Maximum"
        }
        period  = 300
        of      = [1, 1]
        compare = [local.at_least, 1]
        # SQS says nothing of a queue that nobody touched for six hours, whatever is in it: the alarm stays what it was.
        missing = "ignore"
        tell    = "there are messages in the dead-letter queue ${name}. A message is kept for 14 days, what it tells of as long as its stream retains."
      }
    },
    {
      for name in var.sink_queue_names : "sink-${name}" => {
        when = true
        metric = {
          namespace = "AWS/SQS", name = "ApproximateAgeOfOldestMessage", dimensions = { QueueName = name }, statistic = "Maximum"
        }
        period  = 300
        of      = [3, 3]
        compare = [local.at_least, var.thresholds.sink_age_seconds]
        # As above: a sink that is dead touches nothing.
        missing = "ignore"
        tell    = "the sink of queue ${name} has not taken a message for ${var.thresholds.sink_age_seconds} s. After 14 days messages are deleted, and the sink must be filled from the lake."
      }
    },
  )
}
