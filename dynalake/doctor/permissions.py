"""Whether a role may do what a job does, by IAM's own simulation.

AWS: "SimulatePrincipalPolicy": policies of the role, its boundary and the organisation's are judged, those of buckets,
keys and queues are not.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from dynalake.doctor.finding import Description, Finding, Unread, judged, unknown

_SESSION = re.compile(r"arn:([\w-]+):sts::(\d{12}):assumed-role/([\w+=,.@-]+)/.+")
_IDENTITY = re.compile(r"arn:[\w-]+:iam::\d{12}:(user|role)/.+")
_READ, _WRITE, _DELETE = "s3:GetObject", "s3:PutObject", "s3:DeleteObject"
_GLUE = ("glue:GetTable", "glue:GetTables", "glue:CreateTable", "glue:UpdateTable")
_TABLE = ("dynamodb:DescribeTable", "dynamodb:Scan")


@dataclass(frozen=True, slots=True)
class Need:
    """Actions on one kind of resource: a key of what `resources_of` gives."""

    resource: str
    actions: tuple[str, ...]


# What each job does, its most telling need first: who has not that one is not the role of this job.
JOBS: Mapping[str, tuple[Need, ...]] = {
    "compact and refresh": (
        Need("warehouse", (_WRITE, _READ, _DELETE)), Need("bucket", ("s3:ListBucket",)), Need("settings", (_READ,)),
        Need("raw", (_READ,)), Need("dead letters", (_WRITE,)), Need("database", ("glue:GetDatabase",)),
        Need("catalog", _GLUE),
    ),
    "verify": (
        Need("proofs", (_WRITE, _READ)), Need("table", _TABLE), Need("bucket", ("s3:ListBucket",)),
        Need("settings", (_READ,)), Need("warehouse", (_READ,)), Need("database", ("glue:GetDatabase",)),
        Need("catalog", ("glue:GetTable",)),
    ),
    "backfill": (
        Need("backfills", (_WRITE, _READ)), Need("table", _TABLE), Need("bucket", ("s3:ListBucket",)),
        Need("settings", (_READ,)), Need("raw of backfill", (_WRITE,)),
    ),
    "redrive": (
        Need("redrives", (_WRITE, _READ)), Need("bucket", ("s3:ListBucket",)), Need("settings", (_READ,)),
        Need("dead letters", (_READ, _WRITE)), Need("raw", (_READ,)), Need("raw of redrive", (_WRITE,)),
        Need("queue", ("sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:ChangeMessageVisibility")),
        Need("stream", ("kinesis:GetShardIterator", "kinesis:GetRecords")),
    ),
}  # fmt: skip


def role_of(caller: str) -> tuple[str, str] | None:
    """The ARN whose policies are simulated, and the role's name where only that is known: a session's ARN leaves out
    the path of its role. None for who has no policies of its own, such as the root user.
    """
    if session := _SESSION.fullmatch(caller):
        partition, account, name = session.groups()
        return f"arn:{partition}:iam::{account}:role/{name}", name
    return (caller, "") if _IDENTITY.fullmatch(caller) else None


@dataclass(frozen=True, slots=True)
class Place:
    """Where a table and its lake are. `prefix` is the lake's; `bucket` is empty where it is in a folder."""

    partition: str
    region: str
    account: str
    bucket: str
    prefix: str
    database: str
    table: str
    stream_arn: str
    queue_arns: Sequence[str]


def resources_of(place: Place) -> dict[str, list[str]]:
    """The ARNs that actions are simulated on; an object stands for all of its folder."""
    here = f"{place.region}:{place.account}"
    found = {
        "table": [f"arn:{place.partition}:dynamodb:{here}:table/{place.table}"],
        "queue": list(place.queue_arns),
        "stream": [place.stream_arn] if ":kinesis:" in place.stream_arn else [],
    }
    if place.bucket:
        bucket = f"arn:{place.partition}:s3:::{place.bucket}"
        lake = f"{bucket}/{place.prefix}/" if place.prefix else f"{bucket}/"
        folders = {"raw": "raw", "warehouse": "warehouse", "dead letters": "dead_letters", "proofs": "proofs",
                   "backfills": "backfills", "redrives": "redrives", "raw of backfill": "raw/backfill",
                   "raw of redrive": "raw/redrive"}  # fmt: skip
        found |= {kind: [f"{lake}{folder}/x"] for kind, folder in folders.items()}
        found |= {"bucket": [bucket], "settings": [f"{lake}lake.toml"]}
    if place.database:
        glue = f"arn:{place.partition}:glue:{here}"
        found["database"] = [f"{glue}:catalog", f"{glue}:database/{place.database}"]
        found["catalog"] = [*found["database"], f"{glue}:table/{place.database}/x"]
    return found


def check_job(table: str, job: str, role: str, denied: Sequence[tuple[str, str]] | Unread) -> Finding:
    """`denied` are actions that the role may not do, each with the resource."""
    check = f"rights to {job}"
    if isinstance(denied, Unread):
        return unknown(check, table, denied)
    name = role.rpartition("/")[2]
    need = JOBS[job][0]
    if any(action == need.actions[0] and kind == need.resource for action, kind in denied):
        return unknown(check, table, Unread(f"{name} is not the role for it: no {need.actions[0]} on {need.resource}",
                                            "Name the role that is: dynalake doctor --role ARN"))  # fmt: skip
    missing = ", ".join(f"{action} on the {kind}" for action, kind in denied)
    return judged(check, table, not denied, f"{name}: " + (f"no {missing}" if denied else "all"),
                  f"Give {name} {missing}")  # fmt: skip


def denied_in(result: Description) -> Iterator[str]:
    """The actions that an answer of SimulatePrincipalPolicy refuses, on any of its resources."""
    for one in result.get("EvaluationResults", ()):
        specific = one.get("ResourceSpecificResults") or ()
        decisions = [each.get("EvalResourceDecision") for each in specific] or [one.get("EvalDecision")]
        if any(decision != "allowed" for decision in decisions):
            yield one["EvalActionName"]
