# One key for all that the lake and its tables keep. Who may use it is said by IAM, for roles; and here, for services
# that have no role: CloudWatch's alarms, CloudWatch Logs, EventBridge.

locals {
  key_of_account = {
    Sid       = "AccountManages"
    Effect    = "Allow"
    Principal = { AWS = "arn:${local.partition}:iam::${local.account}:root" }
    # All of kms: but what switches rotation off, and imports or replicates key material.
    Action = [
      "kms:CancelKeyDeletion", "kms:CreateAlias", "kms:DeleteAlias", "kms:DescribeKey", "kms:DisableKey",
      "kms:EnableKey", "kms:EnableKeyRotation", "kms:GetKeyPolicy", "kms:GetKeyRotationStatus", "kms:ListGrants",
      "kms:ListKeyPolicies", "kms:ListKeyRotations", "kms:ListResourceTags", "kms:PutKeyPolicy", "kms:RetireGrant",
      "kms:RevokeGrant", "kms:RotateKeyOnDemand", "kms:ScheduleKeyDeletion", "kms:TagResource", "kms:UntagResource",
      "kms:UpdateAlias", "kms:UpdateKeyDescription",
    ]
    Resource = "*" # in a policy of a key: this key
  }
  key_by_roles = {
    Sid       = "AccountDelegatesUseToIAM"
    Effect    = "Allow"
    Principal = { AWS = "arn:${local.partition}:iam::${local.account}:root" }
    Action = [
      "kms:Decrypt", "kms:Encrypt", "kms:GenerateDataKey", "kms:GenerateDataKeyWithoutPlaintext", "kms:ReEncryptFrom",
      "kms:ReEncryptTo",
    ]
    Resource = "*"
  }
  # Lambda keeps the environment of its functions, and ECR images, by a grant of who makes them.
  key_grants = {
    Sid       = "AccountGrantsToServices"
    Effect    = "Allow"
    Principal = { AWS = "arn:${local.partition}:iam::${local.account}:root" }
    Action    = ["kms:CreateGrant"]
    Resource  = "*"
    Condition = { Bool = { "kms:GrantIsForAWSResource" = "true" } }
  }
  # Without this an alarm cannot publish to an encrypted topic: it changes its state, and nobody hears of it
  # (Amazon SNS, Key management: compatibility between event sources and encrypted topics).
  key_alarms = {
    Sid       = "AlarmsPublish"
    Effect    = "Allow"
    Principal = { Service = "cloudwatch.amazonaws.com" }
    Action    = ["kms:Decrypt", "kms:GenerateDataKey"]
    Resource  = "*"
    Condition = {
      StringEquals = { "aws:SourceAccount" = local.account }
      ArnLike      = { "aws:SourceArn" = "arn:${local.partition}:cloudwatch:${local.region}:${local.account}:alarm:*" }
    }
  }
  # CloudWatch Logs, Encrypt log data using AWS KMS: the context is the log group.
  key_logs = {
    Sid       = "LogsAreKept"
    Effect    = "Allow"
    Principal = { Service = "logs.${local.region}.${local.dns}" }
    Action = [
      "kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey", "kms:GenerateDataKeyWithoutPlaintext",
      "kms:ReEncryptFrom", "kms:ReEncryptTo",
    ]
    Resource = "*"
    Condition = {
      ArnLike = { "kms:EncryptionContext:aws:logs:arn" = "arn:${local.partition}:logs:${local.region}:${local.account}:log-group:*" }
    }
  }
  # A rule's queue. AWS says that aws:SourceAccount and aws:SourceArn are not there when EventBridge delivers to what
  # is encrypted (Amazon SNS, Key management); the queue is, as context, and its own policy names the rule.
  key_rules = {
    Sid       = "RulesSendToQueues"
    Effect    = "Allow"
    Principal = { Service = "events.amazonaws.com" }
    Action    = ["kms:Decrypt", "kms:GenerateDataKey"]
    Resource  = "*"
    Condition = {
      ArnLike = { "kms:EncryptionContext:aws:sqs:arn" = "arn:${local.partition}:sqs:${local.region}:${local.account}:${var.name}-*" }
    }
  }
  # EventBridge, Authorizing EventBridge to use a customer managed key.
  key_buses = {
    Sid       = "BusesKeepEvents"
    Effect    = "Allow"
    Principal = { Service = "events.amazonaws.com" }
    Action    = ["kms:Decrypt", "kms:GenerateDataKey"]
    Resource  = "*"
    Condition = {
      StringEquals = { "aws:SourceAccount" = local.account }
      ArnLike      = { "kms:EncryptionContext:aws:events:event-bus:arn" = "arn:${local.partition}:events:${local.region}:${local.account}:event-bus/${var.name}-*" }
    }
  }
  key_is_seen = {
    Sid       = "EventBridgeLooksAtTheKey"
    Effect    = "Allow"
    Principal = { Service = "events.amazonaws.com" }
    Action    = ["kms:DescribeKey"]
    Resource  = "*"
    Condition = { StringEquals = { "aws:SourceAccount" = local.account } }
  }
}

resource "aws_kms_key" "lake" {
  description             = "Everything of the lake ${var.name}"
  enable_key_rotation     = true
  deletion_window_in_days = 30 # the longest: without the key nothing of the lake can be read again

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      local.key_of_account, local.key_by_roles, local.key_grants, local.key_alarms, local.key_logs, local.key_rules,
      local.key_buses, local.key_is_seen,
    ]
  })

  lifecycle {
    prevent_destroy = true # the same: every object, queue and log is encrypted with it
  }
}

resource "aws_kms_alias" "lake" {
  name          = "alias/${var.name}"
  target_key_id = aws_kms_key.lake.key_id
}
