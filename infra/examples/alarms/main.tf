# Alarms and dashboard of a table whose capture is there already, by Firehose and a consumer. modules/table makes them by itself.

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

variable "mapping_uuid" {
  description = "UUID of the consumer's event source mapping, with metrics_config EventCount."
  type        = string
}

module "alarms" {
  source = "../../modules/alarms"

  lake           = var.lake
  name           = "orders"
  table_name     = "orders"
  surface        = "kds"
  stream_name    = "shop-orders"
  firehose_name  = "shop-orders"
  function_names = { consumer = "shop-orders-consumer", transform = "shop-orders-transform" }
  mapping_uuid   = var.mapping_uuid
  queue_names    = ["shop-orders-failures"]

  # The consumer has 50 reserved; its stream retains 24 h only, so that an hour behind is late.
  thresholds = {
    iterator_age_seconds = 1800
    concurrency          = 40
  }
}

output "dashboard_name" {
  value = module.alarms.dashboard_name
}
