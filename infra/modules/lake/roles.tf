# The roles of the jobs, as tasks of ECS. What they may do with the lake, and with queues and streams that bear its name,
# is said here; what they may do with a table is attached by modules/table. All that is attached to a role may have
# 10,240 characters (IAM and AWS STS quotas), so that what can be said once for all tables is.

locals {
  # Of the lake each job reads all, and writes and deletes just what its code does (lake/layout.py).
  jobs = {
    compaction = { # compact, refresh, publish
      writes  = ["warehouse/*", "dead_letters/*", "locks/*", "masks.check", "views.sql", "views.spark.sql", "views.athena.json"]
      deletes = ["warehouse/*"] # files of a commit that was lost to another job
      reads   = []              # beside the lake
      by      = ["s3"]          # services that may use the key for it
    }
    verify = {
      writes  = ["proofs/*", "locks/*"]
      deletes = []
      reads   = []
      by      = ["s3"]
    }
    backfill = { # with --from-export and --prune
      writes  = ["raw/backfill/*", "raw/export/*", "raw/repair/*", "backfills/*", "exports/*", "locks/*", "masks.check"]
      deletes = []
      reads   = [local.exports]
      by      = ["s3"]
    }
    redrive = { # of the lake it deletes nothing: what was redriven is recorded
      writes  = ["raw/redrive/*", "dead_letters/*", "redrives/*", "masks.check"]
      deletes = []
      reads   = [for place in local.failures : trimsuffix(place, "/")]
      by      = ["s3", "sqs", "kinesis"] # the dead-letter queue, and the stream of what its messages name
    }
  }

  objects = "${aws_s3_bucket.lake.arn}/${var.prefix}"
  glue    = "arn:${local.partition}:glue:${local.region}:${local.account}"
  tables  = ["${local.glue}:catalog", "${local.glue}:database/${local.database}", "${local.glue}:table/${local.database}/*"]
  views   = ["${local.glue}:catalog", "${local.glue}:database/${local.views_database}", "${local.glue}:table/${local.views_database}/*"]

  statements_of_files = { for name, job in local.jobs : name => concat(
    [
      {
        Sid    = "Lists"
        Effect = "Allow"
        Action = ["s3:ListBucket"]
        # Also by which S3 says that an object is not there, rather than that it may not be read.
        Resource  = [aws_s3_bucket.lake.arn]
        Condition = { StringLike = { "s3:prefix" = [for place in concat([var.prefix], job.reads) : "${place}/*"] } }
      },
      {
        Sid      = "Reads"
        Effect   = "Allow"
        Action   = ["s3:GetObject"]
        Resource = [for place in concat([var.prefix], job.reads) : "${aws_s3_bucket.lake.arn}/${place}/*"]
      },
      {
        Sid      = "Writes"
        Effect   = "Allow"
        Action   = ["s3:PutObject", "s3:AbortMultipartUpload"]
        Resource = [for place in job.writes : "${local.objects}/${place}"]
      },
      {
        Sid       = "UsesTheKey"
        Effect    = "Allow"
        Action    = ["kms:Decrypt", "kms:GenerateDataKey"]
        Resource  = [aws_kms_key.lake.arn]
        Condition = { StringEquals = { "kms:ViaService" = [for service in job.by : "${service}.${local.region}.${local.dns}"] } }
      },
      {
        Sid      = "ReadsTheCatalog"
        Effect   = "Allow"
        Action   = ["glue:GetDatabase", "glue:GetTable", "glue:GetTables"]
        Resource = local.tables
      },
    ],
    [for places in [job.deletes] : {
      Sid      = "Deletes"
      Effect   = "Allow"
      Action   = ["s3:DeleteObject"] # never a version: what is deleted can be had again for noncurrent_days
      Resource = [for place in places : "${local.objects}/${place}"]
    } if length(places) > 0],
    local.statements_of_secret,
  ) }

  statements_of_secret = concat(
    [for arn in var.mask_secret_arn[*] : {
      Sid      = "ReadsTheSecretOfMasks"
      Effect   = "Allow"
      Action   = ["secretsmanager:GetSecretValue"]
      Resource = [arn]
    }],
    [for arn in var.mask_secret_arn[*] : {
      Sid       = "OpensTheSecretOfMasks"
      Effect    = "Allow"
      Action    = ["kms:Decrypt"]
      Resource  = [coalesce(var.mask_secret_kms_key_arn, aws_kms_key.lake.arn)]
      Condition = { StringEquals = { "kms:ViaService" = ["secretsmanager.${local.region}.${local.dns}"] } }
    }],
  )

  statements_of_tables = [
    {
      Sid      = "CommitsTables"
      Effect   = "Allow"
      Action   = ["glue:CreateTable", "glue:UpdateTable"]
      Resource = local.tables
    },
    {
      Sid      = "MakesViews"
      Effect   = "Allow"
      Action   = ["glue:GetDatabase", "glue:GetTable", "glue:CreateTable", "glue:UpdateTable", "glue:DeleteTable"]
      Resource = local.views
    },
    {
      Sid    = "PublishesByTheWorkgroup"
      Effect = "Allow"
      Action = [
        "athena:GetWorkGroup", "athena:StartQueryExecution", "athena:GetQueryExecution", "athena:GetQueryResults",
        "athena:GetPreparedStatement", "athena:CreatePreparedStatement", "athena:UpdatePreparedStatement",
        "athena:DeletePreparedStatement",
      ]
      Resource = [aws_athena_workgroup.lake.arn]
    },
  ]

  # Of all tables of the lake, by the names that modules/table gives. Of another lake whose name begins like this one's
  # nothing is opened: its queues refuse everybody but its own role, and its streams are under its own key.
  statements_of_failures = [
    {
      Sid      = "ReadsDeadLetters"
      Effect   = "Allow"
      Action   = ["sqs:ChangeMessageVisibility", "sqs:DeleteMessage", "sqs:ReceiveMessage"]
      Resource = ["arn:${local.partition}:sqs:${local.region}:${local.account}:${var.name}-*-failures"]
    },
    {
      Sid      = "ReadsWhatTheyName"
      Effect   = "Allow"
      Action   = ["kinesis:GetRecords", "kinesis:GetShardIterator"]
      Resource = ["arn:${local.partition}:kinesis:${local.region}:${local.account}:stream/${var.name}-*"]
    },
  ]

  # Athena puts results, also that of a CREATE VIEW, with the rights of who asks.
  statements_of_results = [
    {
      Sid       = "ListsResults"
      Effect    = "Allow"
      Action    = ["s3:ListBucket"]
      Resource  = [aws_s3_bucket.lake.arn]
      Condition = { StringLike = { "s3:prefix" = ["${local.results}/*"] } }
    },
    {
      Sid      = "FindsTheBucket"
      Effect   = "Allow"
      Action   = ["s3:GetBucketLocation"]
      Resource = [aws_s3_bucket.lake.arn]
    },
    {
      Sid      = "KeepsResults"
      Effect   = "Allow"
      Action   = ["s3:GetObject", "s3:PutObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"]
      Resource = ["${aws_s3_bucket.lake.arn}/${local.results}/*"]
    },
  ]
}

resource "aws_iam_role" "job" {
  for_each = local.jobs

  name        = "${var.name}-${each.key}"
  description = "${each.key} of the lake ${var.name}, as a task of ECS"

  # Amazon ECS task IAM role: by the two conditions no task of another account comes by it.
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "ecs-tasks.amazonaws.com" }
      Action    = "sts:AssumeRole"
      Condition = {
        StringEquals = { "aws:SourceAccount" = local.account }
        ArnLike      = { "aws:SourceArn" = "arn:${local.partition}:ecs:${local.region}:${local.account}:*" }
      }
    }]
  })
}

resource "aws_iam_role_policy" "job" {
  for_each = local.jobs

  name = "lake"
  role = aws_iam_role.job[each.key].id

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat(
      local.statements_of_files[each.key],
      [for statement in concat(local.statements_of_tables, local.statements_of_results) : statement if each.key == "compaction"],
      [for statement in local.statements_of_failures : statement if each.key == "redrive"],
    )
  })
}
