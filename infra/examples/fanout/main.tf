# A table's native stream to two sinks: a search index that takes what is there, and an audit that takes what was deleted.
# modules/table makes this with surface "pipe", beside the consumer that the lake rests on, and alarms.

terraform {
  required_version = ">= 1.9"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.100, < 6"
    }
  }
}

provider "aws" {
  region = "eu-central-1"
}

variable "lake" {
  description = "Output `lake` of modules/lake."
  type        = any
}

variable "table_stream_arn" {
  description = "ARN of the table's native stream, with new and old images."
  type        = string
}

variable "indexer_role_name" {
  description = "Role of the function that brings changes into the search index."
  type        = string
}

module "fanout" {
  source = "../../modules/fanout"

  lake             = var.lake
  name             = "orders"
  table_stream_arn = var.table_stream_arn

  sinks = {
    search = { visibility_seconds = 360 } # six times the function's minute
    audit  = { pattern = jsonencode({ eventName = ["REMOVE"] }) }
  }
}

resource "aws_iam_role_policy" "indexer" {
  name   = "read-changes"
  role   = var.indexer_role_name
  policy = module.fanout.sinks["search"].reader_policy
}

output "queues" {
  value = { for name, sink in module.fanout.sinks : name => sink.queue_url }
}
