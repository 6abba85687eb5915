# For people: who asks the lake, and who switches streaming on. Attach them to whom you like.

locals {
  # dynalake's own queries read what says how far the past is known; of raw objects only the names.
  asked = ["lake.toml", "views.sql", "views.spark.sql", "views.athena.json", "warehouse/*", "backfills/*", "exports/*", "proofs/*"]
  named = ["warehouse/*", "backfills/*", "exports/*", "proofs/*", "raw/backfill/*", "raw/export/*"]
}

resource "aws_iam_policy" "analyst" {
  name        = "${var.name}-analyst"
  description = "Asks the lake ${var.name}: Athena by its workgroup, and dynalake's own queries. Neither raw objects nor dead letters."

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat(
      [
        {
          Sid       = "ListsTables"
          Effect    = "Allow"
          Action    = ["s3:ListBucket"]
          Resource  = [aws_s3_bucket.lake.arn]
          Condition = { StringLike = { "s3:prefix" = [for place in local.named : "${var.prefix}/${place}"] } }
        },
        {
          Sid      = "ReadsTables"
          Effect   = "Allow"
          Action   = ["s3:GetObject"]
          Resource = [for place in local.asked : "${local.objects}/${place}"]
        },
        {
          Sid       = "UsesTheKey"
          Effect    = "Allow"
          Action    = ["kms:Decrypt", "kms:GenerateDataKey"]
          Resource  = [aws_kms_key.lake.arn]
          Condition = { StringEquals = { "kms:ViaService" = ["s3.${local.region}.${local.dns}"] } }
        },
        {
          Sid      = "ReadsTheCatalog"
          Effect   = "Allow"
          Action   = ["glue:GetDatabase", "glue:GetTable", "glue:GetTables", "glue:GetPartitions"]
          Resource = distinct(concat(local.tables, local.views))
        },
        {
          Sid    = "AsksByTheWorkgroup"
          Effect = "Allow"
          Action = [
            "athena:GetWorkGroup", "athena:StartQueryExecution", "athena:StopQueryExecution", "athena:GetQueryExecution",
            "athena:GetQueryResults", "athena:GetPreparedStatement", "athena:ListPreparedStatements",
          ]
          Resource = [aws_athena_workgroup.lake.arn]
        },
      ],
      local.statements_of_results,
    )
  })
}

resource "aws_iam_policy" "enabling" {
  count = length(var.enabling_table_arns) > 0 ? 1 : 0

  name        = "${var.name}-enabling"
  description = "Switches the streaming of some tables to streams of the lake ${var.name} on and off."

  # Amazon DynamoDB, Using IAM policies for Kinesis Data Streams and DynamoDB.
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid    = "SwitchesStreaming"
        Effect = "Allow"
        Action = [
          "dynamodb:DescribeTable", "dynamodb:DescribeKinesisStreamingDestination",
          "dynamodb:EnableKinesisStreamingDestination", "dynamodb:UpdateKinesisStreamingDestination",
          "dynamodb:DisableKinesisStreamingDestination",
        ]
        Resource = var.enabling_table_arns
      },
      {
        Sid      = "ToStreamsOfTheLake"
        Effect   = "Allow"
        Action   = ["kinesis:DescribeStream", "kinesis:DescribeStreamSummary", "kinesis:PutRecords"]
        Resource = ["arn:${local.partition}:kinesis:${local.region}:${local.account}:stream/${var.name}-*"]
      },
      {
        #checkov:skip=CKV_AWS_355:kinesis:ListStreams knows no resources
        Sid      = "FindsStreams"
        Effect   = "Allow"
        Action   = ["kinesis:ListStreams"]
        Resource = ["*"] # ListStreams knows no others
      },
      {
        Sid       = "WritesToEncryptedStreams"
        Effect    = "Allow"
        Action    = ["kms:GenerateDataKey"]
        Resource  = [aws_kms_key.lake.arn]
        Condition = { StringEquals = { "kms:ViaService" = ["kinesis.${local.region}.${local.dns}"] } }
      },
      {
        Sid       = "MakesTheRoleOfReplication" # the first time in an account
        Effect    = "Allow"
        Action    = ["iam:CreateServiceLinkedRole"]
        Resource  = ["arn:${local.partition}:iam::${local.account}:role/aws-service-role/kinesisreplication.dynamodb.amazonaws.com/AWSServiceRoleForDynamoDBKinesisDataStreamsReplication"]
        Condition = { StringEquals = { "iam:AWSServiceName" = "kinesisreplication.dynamodb.amazonaws.com" } }
      },
    ]
  })
}
