output "name" {
  description = "The function's name, and its role's."
  value       = aws_lambda_function.this.function_name
}

output "arn" {
  description = "The function's ARN."
  value       = aws_lambda_function.this.arn
}

output "role_arn" {
  description = "The ARN of the function's role."
  value       = aws_iam_role.this.arn
}

output "role_name" {
  description = "The name of the function's role, for rights beside those to land."
  value       = aws_iam_role.this.name
}

output "handler" {
  description = "What the function runs."
  value       = aws_lambda_function.this.handler
}

output "secret_arn" {
  description = "The secret that the function may open; null where it may open none."
  value       = var.secret_arn
}
