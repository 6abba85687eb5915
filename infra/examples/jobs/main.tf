# The jobs of a lake with two tables. The lake itself is made by modules/lake; here its output is written out.

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

module "jobs" {
  source = "../../modules/jobs"

  lake = {
    name            = "shop"
    uri             = "s3://shop-lake-111122223333/lake"
    kms_key_arn     = "arn:aws:kms:eu-central-1:111122223333:key/11111111-2222-3333-4444-555555555555"
    alarm_topic_arn = "arn:aws:sns:eu-central-1:111122223333:shop-alarms"
    role_arns = {
      compaction = "arn:aws:iam::111122223333:role/shop-compaction"
      verify     = "arn:aws:iam::111122223333:role/shop-verify"
      backfill   = "arn:aws:iam::111122223333:role/shop-backfill"
      redrive    = "arn:aws:iam::111122223333:role/shop-redrive"
    }
  }

  tables = {
    orders = { table_name = "orders" }

    # A large one: refreshed and proven at night (one percent of its items), at no more than 500 read units a second.
    events = {
      table_name = "Events"
      refresh    = { schedule = "cron(30 1 * * ? *)" }
      verify     = { schedule = "cron(0 3 * * ? *)", arguments = ["--sample", "1%", "--rcu-max", "500"] }
    }
  }

  image_tag = "0.1.0"
  network = {
    subnet_ids         = ["subnet-0123456789abcdef0", "subnet-0123456789abcdef1"]
    security_group_ids = ["sg-0123456789abcdef0"]
  }
  tasks = {
    compaction = { cpu = 4096, memory_mb = 16384, scratch_gib = 100 }
  }
}

output "repository_url" {
  value = module.jobs.repository_url
}

output "task_definition_arns" {
  value = module.jobs.task_definition_arns
}
