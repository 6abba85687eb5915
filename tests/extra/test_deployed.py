"""What infra/ sets up, doctor finds right: its modules are applied to the stand-in, and changes go all the way.

`make test-extra EXTRA="-k deployed"`, where Terraform and its provider are. Two minutes: the provider waits.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

from infra import check
from standin.server import AwsStandIn
from tests.commands import dynalake
from tests.doctoring import checks, findings
from tests.test_tidy import ROOT

pytestmark = pytest.mark.extra

SECONDS_MAX = 480  # of one step of Terraform: the provider waits up to a minute for this and that
SERVICES = ("athena", "cloudwatch", "cloudwatchlogs", "dynamodb", "ecr", "ecs", "eventbridge", "firehose", "glue",
            "iam", "kinesis", "kms", "lambda", "pipes", "s3", "scheduler", "sns", "sqs", "sts")  # fmt: skip
ROOT_MODULE = """
terraform {
  required_providers {
    aws = { source = "hashicorp/aws" }
  }
}
provider "aws" {
  region                      = "us-east-1"
  access_key                  = "standin"
  secret_key                  = "standin"
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  s3_use_path_style           = true
  max_retries                 = 1
  default_tags {
    tags = { project = "shop" }
  }
  endpoints {
    ENDPOINTS
  }
}
module "lake" {
  source = "../modules/lake"
  name   = "shop"
}
resource "aws_dynamodb_table" "orders" {
  name         = "orders"
  billing_mode = "PAY_PER_REQUEST"
  hash_key     = "pk"
  attribute {
    name = "pk"
    type = "S"
  }
}
module "orders" {
  source     = "../modules/table"
  lake       = module.lake.lake
  table_name = aws_dynamodb_table.orders.name
  table_arn  = aws_dynamodb_table.orders.arn
  surface    = "kds"
  package    = "${path.module}/capture-python3.12-x86_64.zip"
}
module "jobs" {
  source    = "../modules/jobs"
  lake      = module.lake.lake
  tables    = { orders = { table_name = "orders" } }
  image_tag = "0.1.0"
  network   = { subnet_ids = ["subnet-0123456789abcdef0"], security_group_ids = ["sg-0123456789abcdef0"] }
}
output "lake" {
  value = module.lake.lake
}
"""


@pytest.fixture
def deployed(tmp_path: Path, aws: AwsStandIn) -> str:
    """The URI of a lake with all around it, as the modules make it."""
    try:
        terraform = check.find_terraform(tmp_path)
    except check.NotFound as fault:
        pytest.skip(str(fault))
    shutil.copytree(ROOT / "infra/modules", tmp_path / "modules")
    folder = tmp_path / "root"
    folder.mkdir()
    endpoints = "\n    ".join(f'{name} = "{aws.endpoint_url}"' for name in SERVICES)
    (folder / "main.tf").write_text(ROOT_MODULE.replace("ENDPOINTS", endpoints), encoding="utf-8")
    with zipfile.ZipFile(folder / "capture-python3.12-x86_64.zip", "w") as package:
        package.writestr("empty.py", "")

    def run(*arguments: str) -> str:
        done = subprocess.run(
            [terraform.program, *arguments], cwd=folder, capture_output=True, text=True, check=False,
            timeout=SECONDS_MAX,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout[-4_000:] + done.stderr
        return done.stdout

    run("init", f"-plugin-dir={terraform.plugins}", "-input=false")
    run("apply", "-auto-approve", "-input=false", "-no-color")
    lake = json.loads(run("output", "-json"))["lake"]["value"]
    # moto takes the policy that refuses plain HTTP for one that refuses everybody: it does not look at conditions.
    aws.client("s3").delete_bucket_policy(Bucket=lake["bucket"])
    return str(lake["uri"])


def test_what_the_modules_set_up_is_right(deployed: str, aws: AwsStandIn) -> None:
    for arguments in (("init",), ("add-table", "orders", "--from-dynamodb")):
        assert dynalake(deployed, *arguments).code == 0
    found = findings(lake=deployed)
    assert checks(found, "wrong") == []
    assert checks(found, "unknown") == ["compaction", "proof", "rights"]
    for n in range(20):
        aws.client("dynamodb").put_item(TableName="orders", Item={"pk": {"S": f"o{n}"}, "total": {"N": f"{n}.5"}})
    aws.deliver()
    for arguments in (("compact", "orders"), ("refresh", "orders"), ("verify", "orders", "--wait", "0")):
        done = dynalake(deployed, *arguments)
        assert done.code == 0, done
    found = findings(lake=deployed)
    assert checks(found, "wrong") == []
    assert checks(found, "unknown") == ["rights"]
