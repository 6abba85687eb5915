"""The rights of the jobs' roles, as infra/modules/lake and modules/table give them, held against what jobs ask for."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import boto3
import pytest
from botocore.httpsession import URLLib3Session

from standin.server import AwsStandIn
from tests.commands import dynalake

MODULES = Path(__file__).parents[1] / "infra/modules"
ROLES = (MODULES / "lake/roles.tf").read_text()
POLICIES = (MODULES / "lake/policies.tf").read_text()
TABLE_ROLES = (MODULES / "table/roles.tf").read_text()
LAKE = "s3://lakes/lake"
DATABASE = "shop"
SCHEDULED = ["--alone", "--metrics"]


@dataclass
class Asked:
    """What was asked since the last look: an action, and a key, a prefix, a database or a table."""

    calls: set[tuple[str, str]] = field(default_factory=set)

    def take(self) -> set[tuple[str, str]]:
        taken, self.calls = self.calls, set()
        return taken


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    send, asked = URLLib3Session.send, Asked()

    def listening(self: URLLib3Session, request: Any) -> Any:
        asked.calls |= calls_of(request)
        return send(self, request)

    monkeypatch.setattr(URLLib3Session, "send", listening)
    return asked


def calls_of(request: Any) -> set[tuple[str, str]]:
    service = re.search(r"/(\w+)/aws4_request", text(request.headers.get("Authorization", "")))
    if service is not None and service[1] == "glue":
        body = json.loads(request.body)
        action = text(request.headers["X-Amz-Target"]).rpartition(".")[2]
        return {(f"glue:{action}", body.get("DatabaseName") or body.get("Name") or body["DatabaseInput"]["Name"])}
    if service is not None and service[1] == "dynamodb":
        body = json.loads(request.body)
        tables = [body["TableName"]] if "TableName" in body else body["RequestItems"]
        return {(f"dynamodb:{text(request.headers['X-Amz-Target']).rpartition('.')[2]}", name) for name in tables}
    if service is None or service[1] != "s3":
        return {(f"{service and service[1]}:", request.url)}
    url = urlsplit(request.url)
    query = parse_qs(url.query, keep_blank_values=True)
    key = unquote(url.path).removeprefix("/lakes").removeprefix("/")
    if "list-type" in query:
        return {("s3:ListBucket", query["prefix"][0])}
    if "delete" in query:
        return {("s3:DeleteObject", key) for key in re.findall(r"<Key>(.*?)</Key>", text(request.body))}
    action = {"GET": "GetObject", "HEAD": "GetObject", "PUT": "PutObject", "POST": "PutObject"}[request.method]
    return {(f"s3:{action}", key)}


def text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def role(name: str) -> Callable[[tuple[str, str]], bool]:
    """Whether the role of that name may do what is asked, by the text of roles.tf."""
    job = re.search(rf"{name} = \{{[^{{}}]*?writes +=(.*?\])[^{{}}]*?deletes += (.*?\])", ROLES)
    assert job is not None, name
    writes, deletes = json.loads(job[1]), json.loads(job[2])
    glue = actions("ReadsTheCatalog") | (actions("CommitsTables") if name == "compaction" else set())
    of_table = re.search(rf'"aws_iam_role_policy" "{name}".*?\n}}\n', TABLE_ROLES, re.DOTALL)
    dynamodb = set(re.findall(r'"(dynamodb:\w+)"', of_table[0])) if of_table else set()

    def may(call: tuple[str, str]) -> bool:
        action, what = call
        if action.startswith("glue:"):
            return action in glue and what == DATABASE
        if action.startswith("dynamodb:"):
            return action in dynamodb and what == "orders"
        places = {"s3:GetObject": ["*"], "s3:ListBucket": ["*"], "s3:PutObject": writes, "s3:DeleteObject": deletes}
        return any(fnmatchcase(what, f"lake/{place}") for place in places.get(action, []))

    return may


def analyst(call: tuple[str, str]) -> bool:
    """Whether the policy `analyst` of policies.tf allows what is asked."""
    action, what = call
    if action.startswith("glue:"):
        return action in actions("ReadsTheCatalog") and what == DATABASE
    places = {name: json.loads(found) for name, found in re.findall(r"  (asked|named) = (\[.*?\])\n", POLICIES)}
    where = {"s3:GetObject": places["asked"], "s3:ListBucket": places["named"]}
    return any(fnmatchcase(what, f"lake/{place}") for place in where.get(action, []))


def actions(sid: str) -> set[str]:
    found = re.search(rf'Sid += "{sid}".*?Action += \[(.*?)\]', ROLES, re.DOTALL)
    assert found is not None, sid
    return set(re.findall(r'"([\w:]+)"', found[1]))


def run(*arguments: str) -> None:
    ended = dynalake(LAKE, *arguments)
    assert ended.code == 0, ended


def test_jobs_ask_for_nothing_that_their_roles_refuse(aws: AwsStandIn, asked: Asked) -> None:
    aws.client("s3").create_bucket(Bucket="lakes")
    boto3.client("glue").create_database(DatabaseInput={"Name": DATABASE})  # as infra makes it
    run("init", "--database", DATABASE)
    run("add-table", "orders", "--hash-key", "pk:S", "--range-key", "sk:S")
    aws.replicate("orders", bucket="lakes", prefix="lake/raw/firehose/", range_key=("sk", "S"))
    for n in range(20):
        item = {"pk": {"S": f"i{n}"}, "sk": {"S": "1"}, "n": {"N": str(n)}}
        aws.client("dynamodb").put_item(TableName="orders", Item=item)
    aws.deliver()
    aws.client("s3").put_object(Bucket="lakes", Key="lake/raw/firehose/rubbish", Body=b"rubbish\n")
    asked.take()

    done = {}
    for job, commands in {
        "compaction": (["compact", *SCHEDULED], ["refresh", *SCHEDULED], ["publish", "duckdb"]),
        "backfill": (["backfill", "orders"], ["backfill", "orders", "--again", "--prune"]),
        "verify": (["verify", "orders", "--wait", "0", *SCHEDULED],),
        "redrive": (["redrive", "--dry-run"], ["redrive"]),
    }.items():
        for command in commands:
            run(*command)
        done[job] = asked.take()
        assert [call for call in sorted(done[job]) if not role(job)(call)] == [], job

    run("compact")  # what the backfill landed: else no past is known
    asked.take()
    for query in ("SELECT count(*) FROM orders", "SELECT count(*) FROM orders_as_of('2100-01-01')"):
        run("sql", query)
    assert [call for call in sorted(asked.take()) if not analyst(call)] == []

    assert ("glue:UpdateTable", DATABASE) in done["compaction"]
    assert not all(map(role("verify"), done["compaction"])), "what proves the tables may not write them"
    assert all(any(what.startswith("lake/locks/") for _, what in done[job]) for job in ("compaction", "verify"))
    assert any(what.startswith("lake/proofs/") for action, what in done["verify"] if action == "s3:PutObject")
    assert any(what.startswith("lake/backfills/") for action, what in done["backfill"] if action == "s3:PutObject")
