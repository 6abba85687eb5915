# Task definitions, one for each role: what a job may do is what its role may.

locals {
  container = "dynalake"
  scratch   = "/scratch" # a VOLUME of the image, which belongs to its user; HOME and TMPDIR are there
}

resource "aws_ecs_task_definition" "this" {
  for_each = var.tasks

  family                   = "${local.prefix}-${each.key}"
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = each.value.cpu
  memory                   = each.value.memory_mb
  task_role_arn            = var.lake.role_arns[each.key]
  execution_role_arn       = aws_iam_role.execution.arn

  runtime_platform {
    operating_system_family = "LINUX"
    cpu_architecture        = var.architecture
  }

  ephemeral_storage {
    size_in_gib = each.value.scratch_gib
  }

  # On the ephemeral storage, as nothing else is said.
  volume {
    name = "scratch"
  }

  container_definitions = jsonencode([{
    name                   = local.container
    image                  = "${aws_ecr_repository.this.repository_url}:${var.image_tag}"
    essential              = true
    command                = ["--help"]
    user                   = "10001:10001" # the image's own, said here too
    readonlyRootFilesystem = true
    mountPoints            = [{ sourceVolume = "scratch", containerPath = local.scratch, readOnly = false }]
    environment = [
      { name = "AWS_DEFAULT_REGION", value = local.region },
      { name = "DYNALAKE_LAKE", value = var.lake.uri },
      { name = "TMPDIR", value = local.scratch },
    ]
    # As the first process a job would not hear of SIGTERM.
    linuxParameters = { initProcessEnabled = true }
    stopTimeout     = 30
    logConfiguration = {
      logDriver = "awslogs"
      options = {
        awslogs-group         = aws_cloudwatch_log_group.this.name
        awslogs-region        = local.region
        awslogs-stream-prefix = each.key
        # A job does not stand still because its log does; a job's whole log is smaller than the buffer.
        mode            = "non-blocking"
        max-buffer-size = "10m"
      }
    }
  }])
}

# What ECS itself does for a task: fetch the image, write the log. The jobs do not get this role.
resource "aws_iam_role" "execution" {
  name = "${local.prefix}-execution"
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "ecs-tasks.amazonaws.com" }
      Action    = "sts:AssumeRole"
      Condition = {
        StringEquals = { "aws:SourceAccount" = local.account }
        ArnLike      = { "aws:SourceArn" = "${local.arn}:ecs:${local.region}:${local.account}:*" }
      }
    }]
  })
}

# The image is decrypted by a grant that ECR made with the repository (AWS: "Encryption at rest" in the ECR guide): no right on the key is needed.
resource "aws_iam_role_policy" "execution" {
  name = "image-and-log"
  role = aws_iam_role.execution.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid      = "LogInToRegistry"
        Effect   = "Allow"
        Action   = "ecr:GetAuthorizationToken"
        Resource = "*" # is of the account's registry as a whole, there is no resource to name
      },
      {
        Sid      = "FetchImage"
        Effect   = "Allow"
        Action   = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
        Resource = aws_ecr_repository.this.arn
      },
      {
        Sid      = "WriteLog"
        Effect   = "Allow"
        Action   = ["logs:CreateLogStream", "logs:PutLogEvents"]
        Resource = "${aws_cloudwatch_log_group.this.arn}:*" # the group's streams
      },
    ]
  })
}
