output "alarm_names" {
  description = "Names of the alarms, by what they watch."
  value       = { for name, alarm in aws_cloudwatch_metric_alarm.this : name => alarm.alarm_name }
}

output "alarm_arns" {
  description = "ARNs of the alarms, by what they watch."
  value       = { for name, alarm in aws_cloudwatch_metric_alarm.this : name => alarm.arn }
}

output "dashboard_name" {
  description = "Name of the table's dashboard."
  value       = aws_cloudwatch_dashboard.this.dashboard_name
}
