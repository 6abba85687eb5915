"""The bucket of a lake on S3."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dynalake.doctor.finding import Answer, Description, Finding, Unread, judged, unknown
from lake import layout

RAW_DAYS_MIN = 30  # raw objects that no compaction took in by then are lost
_ARCHIVES = ("GLACIER", "DEEP_ARCHIVE")  # not to be read before they are restored
_BLOCKS = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")
_OLD_NAMES = {None: "us-east-1", "": "us-east-1", "EU": "eu-west-1"}  # AWS: "GetBucketLocation"


def check_bucket(
    bucket: str, region: str, location: Answer, versioning: Answer, public: Answer, encryption: Answer
) -> Iterator[Finding]:
    """Everything but lifecycle rules."""
    if isinstance(location, Unread):
        yield unknown("bucket", "", location)
    else:
        there = (location or {}).get("LocationConstraint")
        there = _OLD_NAMES.get(there, there)
        found = f"{bucket} in {there}" if location is not None else f"no bucket {bucket}"
        yield judged("bucket", "", location is not None and there == region, found,
                     f"Set AWS_DEFAULT_REGION to the bucket's; here it is {region}")  # fmt: skip
        if location is None:
            return
    if isinstance(versioning, Unread):
        yield unknown("versioning", "", versioning)
    else:
        status = (versioning or {}).get("Status", "off")
        yield judged(
            "versioning", "", status == "Enabled", status,
            f"What is deleted by mistake is gone: aws s3api put-bucket-versioning --bucket {bucket} "
            "--versioning-configuration Status=Enabled",
        )  # fmt: skip
    if isinstance(public, Unread):
        yield unknown("public access", "", public)
    else:
        blocks = (public or {}).get("PublicAccessBlockConfiguration", {})
        is_open = [name for name in _BLOCKS if not blocks.get(name)]
        yield judged(
            "public access", "", not is_open, "blocked" if not is_open else f"not set: {', '.join(is_open)}",
            f"aws s3api put-public-access-block --bucket {bucket} --public-access-block-configuration "
            + ",".join(f"{name}=true" for name in _BLOCKS),
        )  # fmt: skip
    if isinstance(encryption, Unread):
        yield unknown("bucket encryption", "", encryption)
    else:
        rules = (encryption or {}).get("ServerSideEncryptionConfiguration", {}).get("Rules", ())
        kinds = [rule.get("ApplyServerSideEncryptionByDefault", {}).get("SSEAlgorithm", "") for rule in rules]
        yield judged("bucket encryption", "", any(kinds), ", ".join(kinds) or "none",
                     f"aws s3api put-bucket-encryption --bucket {bucket} --server-side-encryption-configuration "
                     "'{\"Rules\":[{\"ApplyServerSideEncryptionByDefault\":{\"SSEAlgorithm\":\"aws:kms\","
                     "\"KMSMasterKeyID\":\"KEY\"}}]}'")  # fmt: skip


def check_lifecycle(bucket: str, prefix: str, answer: Answer) -> Finding:
    """No rule may expire or move what the lake lives on. AWS: "Lifecycle configuration elements".

    `prefix` is the lake's, empty where it has the whole bucket. A rule for tagged or large objects only is taken for
    one of all: that nobody tags an object of the lake cannot be seen here.
    """
    if isinstance(answer, Unread):
        return unknown("lifecycle", "", answer)
    lake = f"{prefix}/" if prefix else ""
    told = [(one, _harm(one, lake)) for one in (answer or {}).get("Rules", ()) if one.get("Status") == "Enabled"]
    wrong = [f"{one.get('ID') or _prefix(one)!r} {harm}" for one, harm in told if harm]
    return judged(
        "lifecycle", "", not wrong, "; ".join(wrong) or f"{len(told)} rules",
        f"Live files of tables would go. Keep rules off {lake or 'the bucket'} but for noncurrent versions and "
        f"unfinished uploads: aws s3api put-bucket-lifecycle-configuration --bucket {bucket}",
    )  # fmt: skip


def _harm(rule: Description, lake: str) -> str:
    prefix, raw = _prefix(rule), f"{lake}{layout.RAW}"
    if not (prefix.startswith(lake) or lake.startswith(prefix)):
        return ""
    expiration, moves = rule.get("Expiration") or {}, _moves(rule)
    days = [expiration["Days"]] if "Days" in expiration else [0] if "Date" in expiration else []
    if prefix.startswith(raw):
        days += [move.get("Days", 0) for move in moves if move.get("StorageClass") in _ARCHIVES]
        return f"takes raw objects away after {min(days)} days, not {RAW_DAYS_MIN}" if _soon(days) else ""
    if days:
        return f"expires {prefix or 'all'}"
    return f"moves {prefix or 'all'}" if moves else ""


def _soon(days: Sequence[int]) -> bool:
    return bool(days) and min(days) < RAW_DAYS_MIN


def _moves(rule: Description) -> list[Description]:
    return list(rule.get("Transitions") or ([rule["Transition"]] if rule.get("Transition") else []))


def _prefix(rule: Description) -> str:
    """A rule's prefix, in the three places where it may stand."""
    filtered = rule.get("Filter") or {}
    found = rule.get("Prefix") or filtered.get("Prefix") or (filtered.get("And") or {}).get("Prefix")
    return str(found or "")
