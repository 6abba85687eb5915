# A lake, and nothing that fills it: the first step of every set-up.

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

  default_tags {
    tags = { project = "shop" }
  }
}

module "lake" {
  source = "../../modules/lake"

  name         = "shop"
  alarm_emails = ["on-call@example.org"]
}

output "next" {
  description = "What to run now."
  value       = module.lake.init
}
