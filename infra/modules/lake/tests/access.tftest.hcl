mock_provider "aws" {
  source          = "../../mocks"
  override_during = plan
}

variables {
  name                = "shop"
  mask_secret_arn     = "arn:aws:secretsmanager:eu-central-1:111122223333:secret:masks-AbCdEf"
  enabling_table_arns = ["arn:aws:dynamodb:eu-central-1:111122223333:table/orders"]
}

run "jobs_may_do_their_work_and_nothing_more" {
  command = plan

  assert {
    condition     = toset(keys(aws_iam_role.job)) == toset(["compaction", "verify", "backfill", "redrive"])
    error_message = "A role for each kind of job."
  }
  assert {
    condition = alltrue([for role in aws_iam_role.job : jsondecode(role.assume_role_policy).Statement == [{
      Effect    = "Allow"
      Principal = { Service = "ecs-tasks.amazonaws.com" }
      Action    = "sts:AssumeRole"
      Condition = {
        StringEquals = { "aws:SourceAccount" = "111122223333" }
        ArnLike      = { "aws:SourceArn" = "arn:aws:ecs:eu-central-1:111122223333:*" }
      }
    }]])
    error_message = "A task of another account must not come by the role."
  }
  assert {
    condition = alltrue(flatten([
      for policy in concat(values(aws_iam_role_policy.job)[*].policy, [aws_iam_policy.analyst.policy, aws_iam_policy.enabling[0].policy]) : [
        for statement in jsondecode(policy).Statement : statement.Effect == "Allow" && alltrue([for action in statement.Action : can(regex("^[a-z0-9-]+:[A-Za-z]+$", action))])
      ]
    ]))
    error_message = "Actions are named one by one."
  }
  assert {
    condition = alltrue(flatten([
      for policy in concat(values(aws_iam_role_policy.job)[*].policy, [aws_iam_policy.analyst.policy, aws_iam_policy.enabling[0].policy]) : [
        for statement in jsondecode(policy).Statement : statement.Action == ["kinesis:ListStreams"] || alltrue([for resource in statement.Resource : startswith(resource, "arn:aws:")])
      ]
    ]))
    error_message = "Resources are named, but for what knows none."
  }
  assert {
    condition = !anytrue(flatten([
      for policy in concat(values(aws_iam_role_policy.job)[*].policy, [aws_iam_policy.analyst.policy, aws_iam_policy.enabling[0].policy]) : [
        for statement in jsondecode(policy).Statement : [
          for action in statement.Action : contains([
            "s3:DeleteObjectVersion", "s3:PutLifecycleConfiguration", "s3:PutBucketPolicy", "s3:PutBucketVersioning", "s3:DeleteBucket",
            "glue:DeleteDatabase", "kms:ScheduleKeyDeletion", "kms:PutKeyPolicy", "iam:PassRole",
          ], action)
        ]
      ]
    ]))
    error_message = "No role can destroy versions, the database or the key."
  }
  assert {
    condition = {
      for name, role in aws_iam_role_policy.job : name => toset(one([for statement in jsondecode(role.policy).Statement : statement.Resource if statement.Sid == "Writes"]))
      } == {
      compaction = toset([for place in ["warehouse/*", "dead_letters/*", "locks/*", "masks.check", "views.sql", "views.spark.sql", "views.athena.json"] : "arn:aws:s3:::mock-bucket/lake/${place}"])
      verify     = toset([for place in ["proofs/*", "locks/*"] : "arn:aws:s3:::mock-bucket/lake/${place}"])
      backfill   = toset([for place in ["raw/backfill/*", "raw/export/*", "raw/repair/*", "backfills/*", "exports/*", "locks/*", "masks.check"] : "arn:aws:s3:::mock-bucket/lake/${place}"])
      redrive    = toset([for place in ["raw/redrive/*", "dead_letters/*", "redrives/*", "masks.check"] : "arn:aws:s3:::mock-bucket/lake/${place}"])
    }
    error_message = "Only compaction writes files of tables; each of the others what is its own."
  }
  assert {
    condition = {
      for name, role in aws_iam_role_policy.job : name => flatten([for statement in jsondecode(role.policy).Statement : statement.Resource if statement.Sid == "Deletes"])
      } == {
      compaction = ["arn:aws:s3:::mock-bucket/lake/warehouse/*"]
      verify     = []
      backfill   = []
      redrive    = []
    }
    error_message = "Raw objects and dead letters are deleted by nobody."
  }
  assert {
    condition = alltrue([
      for role in aws_iam_role_policy.job : toset(flatten([for statement in jsondecode(role.policy).Statement : [for action in statement.Action : statement.Sid if startswith(action, "s3:Delete")]])) == toset(flatten([for statement in jsondecode(role.policy).Statement : statement.Sid if statement.Sid == "Deletes"]))
    ])
    error_message = "Deleting is said in one place."
  }
  assert {
    condition = alltrue([
      for name, role in aws_iam_role_policy.job : one([for statement in jsondecode(role.policy).Statement : statement.Resource if statement.Sid == "Reads"]) == concat(
        ["arn:aws:s3:::mock-bucket/lake/*"],
        name == "backfill" ? ["arn:aws:s3:::mock-bucket/dynamodb-exports/*"] : [],
        name == "redrive" ? ["arn:aws:s3:::mock-bucket/firehose-errors/*", "arn:aws:s3:::mock-bucket/aws/lambda/*"] : [],
      )
    ])
    error_message = "Jobs read the lake; a backfill exports too, a redrive what failed."
  }
  assert {
    condition = alltrue([
      for name, role in aws_iam_role_policy.job : one([for statement in jsondecode(role.policy).Statement : statement if statement.Sid == "Lists"]) == {
        Sid      = "Lists"
        Effect   = "Allow"
        Action   = ["s3:ListBucket"]
        Resource = ["arn:aws:s3:::mock-bucket"]
        Condition = {
          StringLike = { "s3:prefix" = concat(["lake/*"], name == "backfill" ? ["dynamodb-exports/*"] : [], name == "redrive" ? ["firehose-errors/*", "aws/lambda/*"] : []) }
        }
      }
    ])
    error_message = "Without ListBucket S3 says 403 of an object that is not there, and a first run stops."
  }
  assert {
    condition = {
      for name, role in aws_iam_role_policy.job : name => toset(flatten([for statement in jsondecode(role.policy).Statement : [for action in statement.Action : action if startswith(action, "glue:")] if contains(statement.Resource, "arn:aws:glue:eu-central-1:111122223333:table/shop/*")]))
      } == {
      compaction = toset(["glue:GetDatabase", "glue:GetTable", "glue:GetTables", "glue:CreateTable", "glue:UpdateTable"])
      verify     = toset(["glue:GetDatabase", "glue:GetTable", "glue:GetTables"])
      backfill   = toset(["glue:GetDatabase", "glue:GetTable", "glue:GetTables"])
      redrive    = toset(["glue:GetDatabase", "glue:GetTable", "glue:GetTables"])
    }
    error_message = "Nobody deletes a table; compaction alone commits to one."
  }
  assert {
    condition = one([for statement in jsondecode(aws_iam_role_policy.job["compaction"].policy).Statement : statement.Resource if statement.Sid == "MakesViews"]) == [
      "arn:aws:glue:eu-central-1:111122223333:catalog", "arn:aws:glue:eu-central-1:111122223333:database/shop_views", "arn:aws:glue:eu-central-1:111122223333:table/shop_views/*",
    ]
    error_message = "Views are made, and dropped, in their own database."
  }
  assert {
    condition = {
      for name, role in aws_iam_role_policy.job : name => one([for statement in jsondecode(role.policy).Statement : statement.Condition if statement.Sid == "UsesTheKey"])
      } == {
      compaction = { StringEquals = { "kms:ViaService" = ["s3.eu-central-1.amazonaws.com"] } }
      verify     = { StringEquals = { "kms:ViaService" = ["s3.eu-central-1.amazonaws.com"] } }
      backfill   = { StringEquals = { "kms:ViaService" = ["s3.eu-central-1.amazonaws.com"] } }
      redrive    = { StringEquals = { "kms:ViaService" = ["s3.eu-central-1.amazonaws.com", "sqs.eu-central-1.amazonaws.com", "kinesis.eu-central-1.amazonaws.com"] } }
    }
    error_message = "The key opens nothing that a job holds in its hands."
  }
  assert {
    condition = {
      for name, role in aws_iam_role_policy.job : name => [
        for statement in jsondecode(role.policy).Statement : [statement.Action, statement.Resource] if anytrue([for action in statement.Action : can(regex("^(sqs|kinesis):", action))])
      ]
      } == {
      compaction = [], verify = [], backfill = []
      redrive = [
        [["sqs:ChangeMessageVisibility", "sqs:DeleteMessage", "sqs:ReceiveMessage"], ["arn:aws:sqs:eu-central-1:111122223333:shop-*-failures"]],
        [["kinesis:GetRecords", "kinesis:GetShardIterator"], ["arn:aws:kinesis:eu-central-1:111122223333:stream/shop-*"]],
      ]
    }
    error_message = "redrive alone reads the lake's dead-letter queues, and the streams of what they name."
  }
  assert {
    condition     = alltrue([for role in aws_iam_role_policy.job : length(role.policy) <= 4096]) && alltrue([for name in ["verify", "backfill", "redrive"] : length(aws_iam_role_policy.job[name].policy) <= 2700])
    error_message = "What a role may have is 10,240 characters: leave most of them to the tables."
  }
  assert {
    condition = alltrue([
      for role in aws_iam_role_policy.job : one([for statement in jsondecode(role.policy).Statement : statement.Resource if statement.Sid == "ReadsTheSecretOfMasks"]) == [var.mask_secret_arn]
    ])
    error_message = "That one secret, for all jobs: each of them masks what lands, or opens what is sealed."
  }
}

run "without_masks_no_secret" {
  command = plan

  variables {
    mask_secret_arn     = null
    enabling_table_arns = []
  }

  assert {
    condition     = !anytrue([for role in aws_iam_role_policy.job : strcontains(role.policy, "secretsmanager")])
    error_message = "No secret is named, none may be read."
  }
  assert {
    condition     = length(aws_iam_policy.enabling) == 0 && output.enabling_policy_arn == null
    error_message = "No tables, no policy."
  }
}

run "people_ask_the_lake_and_switch_streaming_on" {
  command = plan

  assert {
    condition = toset(flatten([for statement in jsondecode(aws_iam_policy.analyst.policy).Statement : statement.Resource if contains(statement.Action, "s3:GetObject")])) == toset(concat(
      [for place in ["lake.toml", "views.sql", "views.spark.sql", "views.athena.json", "warehouse/*", "backfills/*", "exports/*", "proofs/*"] : "arn:aws:s3:::mock-bucket/lake/${place}"],
      ["arn:aws:s3:::mock-bucket/athena-results/*"],
    ))
    error_message = "Neither raw objects, nor dead letters, nor failures: they may hold what tables do not show."
  }
  assert {
    condition     = flatten([for statement in jsondecode(aws_iam_policy.analyst.policy).Statement : statement.Resource if contains(statement.Action, "s3:PutObject")]) == ["arn:aws:s3:::mock-bucket/athena-results/*"]
    error_message = "Results, and nothing of the lake."
  }
  assert {
    condition = toset(flatten([for statement in jsondecode(aws_iam_policy.analyst.policy).Statement : statement.Condition.StringLike["s3:prefix"] if contains(statement.Action, "s3:ListBucket")])) == toset(concat(
      [for place in ["warehouse/*", "backfills/*", "exports/*", "proofs/*", "raw/backfill/*", "raw/export/*"] : "lake/${place}"], ["athena-results/*"]
    ))
    error_message = "What may be listed."
  }
  assert {
    condition = toset(flatten([for statement in jsondecode(aws_iam_policy.analyst.policy).Statement : [for action in statement.Action : action if !startswith(action, "s3:")]])) == toset([
      "kms:Decrypt", "kms:GenerateDataKey", "glue:GetDatabase", "glue:GetTable", "glue:GetTables", "glue:GetPartitions", "athena:GetWorkGroup",
      "athena:StartQueryExecution", "athena:StopQueryExecution", "athena:GetQueryExecution", "athena:GetQueryResults", "athena:GetPreparedStatement", "athena:ListPreparedStatements",
    ])
    error_message = "Asking, and nothing that changes a table."
  }
  assert {
    condition     = one([for statement in jsondecode(aws_iam_policy.enabling[0].policy).Statement : statement.Resource if statement.Sid == "SwitchesStreaming"]) == ["arn:aws:dynamodb:eu-central-1:111122223333:table/orders"]
    error_message = "Those tables."
  }
  assert {
    condition     = one([for statement in jsondecode(aws_iam_policy.enabling[0].policy).Statement : statement.Resource if statement.Sid == "ToStreamsOfTheLake"]) == ["arn:aws:kinesis:eu-central-1:111122223333:stream/shop-*"]
    error_message = "To streams of this lake."
  }
  assert {
    condition     = one([for statement in jsondecode(aws_iam_policy.enabling[0].policy).Statement : statement.Condition if statement.Sid == "MakesTheRoleOfReplication"]) == { StringEquals = { "iam:AWSServiceName" = "kinesisreplication.dynamodb.amazonaws.com" } }
    error_message = "The service-linked role of that service, no other."
  }
}

run "a_table_by_a_wildcard_is_refused" {
  command = plan

  variables {
    enabling_table_arns = ["arn:aws:dynamodb:eu-central-1:111122223333:table/*"]
  }

  expect_failures = [var.enabling_table_arns]
}

run "a_secret_by_a_wildcard_is_refused" {
  command = plan

  variables {
    mask_secret_arn = "arn:aws:secretsmanager:eu-central-1:111122223333:secret:*"
  }

  expect_failures = [var.mask_secret_arn]
}
