mock_provider "aws" {
  source          = "../../mocks"
  override_during = plan
}

variables {
  name         = "shop"
  alarm_emails = ["on-call@example.org"]
}

run "the_key_lasts_and_is_used_by_the_account_and_three_services" {
  command = plan

  assert {
    condition     = aws_kms_key.lake.enable_key_rotation && aws_kms_key.lake.deletion_window_in_days == 30
    error_message = "The key rotates, and its deletion can be taken back for 30 days."
  }
  assert {
    condition     = aws_kms_alias.lake.name == "alias/shop"
    error_message = "It is found by the lake's name."
  }
  assert {
    condition = toset([for statement in jsondecode(aws_kms_key.lake.policy).Statement : jsonencode(statement.Principal)]) == toset([
      jsonencode({ AWS = "arn:aws:iam::111122223333:root" }),
      jsonencode({ Service = "cloudwatch.amazonaws.com" }),
      jsonencode({ Service = "logs.eu-central-1.amazonaws.com" }),
      jsonencode({ Service = "events.amazonaws.com" }),
    ])
    error_message = "Nobody else is named in the key's policy."
  }
  assert {
    condition     = alltrue(flatten([for statement in jsondecode(aws_kms_key.lake.policy).Statement : [for action in statement.Action : can(regex("^kms:[A-Za-z]+$", action))]]))
    error_message = "Actions are named one by one."
  }
  assert {
    condition     = !contains(flatten([for statement in jsondecode(aws_kms_key.lake.policy).Statement : statement.Action]), "kms:DisableKeyRotation")
    error_message = "Nobody switches rotation off."
  }
  assert {
    condition = alltrue([
      for statement in jsondecode(aws_kms_key.lake.policy).Statement : length(try(statement.Condition, {})) > 0 if can(statement.Principal.Service)
    ])
    error_message = "A service uses the key on a condition."
  }
  assert {
    condition = toset(one([for statement in jsondecode(aws_kms_key.lake.policy).Statement : statement.Action if statement.Sid == "AccountDelegatesUseToIAM"])) == toset([
      "kms:Decrypt", "kms:Encrypt", "kms:GenerateDataKey", "kms:GenerateDataKeyWithoutPlaintext", "kms:ReEncryptFrom", "kms:ReEncryptTo",
    ])
    error_message = "Without the account in it, the policies of roles come to nothing."
  }
  assert {
    condition     = contains(one([for statement in jsondecode(aws_kms_key.lake.policy).Statement : statement.Action if statement.Sid == "AccountManages"]), "kms:PutKeyPolicy")
    error_message = "A key whose policy nobody may change cannot be managed any more."
  }
  assert {
    condition     = one([for statement in jsondecode(aws_kms_key.lake.policy).Statement : statement.Condition if statement.Sid == "AccountGrantsToServices"]) == { Bool = { "kms:GrantIsForAWSResource" = "true" } }
    error_message = "Grants are for services of AWS alone."
  }
}

run "services_use_the_key_for_this_account_alone" {
  command = plan

  assert {
    condition     = aws_sns_topic.alarms.kms_master_key_id == aws_kms_key.lake.arn
    error_message = "The topic is encrypted with the lake's key: CloudWatch cannot publish by aws/sns."
  }
  assert {
    condition = one([for statement in jsondecode(aws_kms_key.lake.policy).Statement : statement if statement.Sid == "AlarmsPublish"]) == {
      Sid       = "AlarmsPublish"
      Effect    = "Allow"
      Principal = { Service = "cloudwatch.amazonaws.com" }
      Action    = ["kms:Decrypt", "kms:GenerateDataKey"]
      Resource  = "*"
      Condition = {
        StringEquals = { "aws:SourceAccount" = "111122223333" }
        ArnLike      = { "aws:SourceArn" = "arn:aws:cloudwatch:eu-central-1:111122223333:alarm:*" }
      }
    }
    error_message = "Alarms of this account use the key, those of others do not."
  }
  assert {
    condition = one([for statement in jsondecode(aws_sns_topic_policy.alarms.policy).Statement : statement if statement.Effect == "Allow"]) == {
      Sid       = "AlarmsOfThisAccount"
      Effect    = "Allow"
      Principal = { Service = "cloudwatch.amazonaws.com" }
      Action    = "sns:Publish"
      Resource  = "arn:aws:sns:eu-central-1:111122223333:mock"
      Condition = {
        StringEquals = { "aws:SourceAccount" = "111122223333" }
        ArnLike      = { "aws:SourceArn" = "arn:aws:cloudwatch:eu-central-1:111122223333:alarm:*" }
      }
    }
    error_message = "Alarms of this account publish, and nobody else."
  }
  assert {
    condition     = one([for statement in jsondecode(aws_sns_topic_policy.alarms.policy).Statement : statement.Condition if statement.Effect == "Deny"]) == { Bool = { "aws:SecureTransport" = "false" } }
    error_message = "Not without TLS."
  }
  assert {
    condition     = aws_sns_topic_subscription.mail["on-call@example.org"].endpoint == "on-call@example.org" && aws_sns_topic_subscription.mail["on-call@example.org"].protocol == "email"
    error_message = "Who is named gets a mail."
  }
  assert {
    condition     = one([for statement in jsondecode(aws_kms_key.lake.policy).Statement : statement.Condition if statement.Sid == "LogsAreKept"]) == { ArnLike = { "kms:EncryptionContext:aws:logs:arn" = "arn:aws:logs:eu-central-1:111122223333:log-group:*" } }
    error_message = "Log groups of this account and Region."
  }
  assert {
    condition     = one([for statement in jsondecode(aws_kms_key.lake.policy).Statement : statement.Condition if statement.Sid == "RulesSendToQueues"]) == { ArnLike = { "kms:EncryptionContext:aws:sqs:arn" = "arn:aws:sqs:eu-central-1:111122223333:shop-*" } }
    error_message = "Queues of this lake. Of EventBridge's deliveries AWS tells no account: such a condition would stop them all."
  }
  assert {
    condition = one([for statement in jsondecode(aws_kms_key.lake.policy).Statement : statement.Condition if statement.Sid == "BusesKeepEvents"]) == {
      StringEquals = { "aws:SourceAccount" = "111122223333" }
      ArnLike      = { "kms:EncryptionContext:aws:events:event-bus:arn" = "arn:aws:events:eu-central-1:111122223333:event-bus/shop-*" }
    }
    error_message = "Buses of this lake."
  }
  assert {
    condition     = one([for statement in jsondecode(aws_kms_key.lake.policy).Statement : statement.Action if statement.Sid == "EventBridgeLooksAtTheKey"]) == ["kms:DescribeKey"]
    error_message = "EventBridge looks at a key before it takes it."
  }
}
