"""Queues, and places of objects, that hold what failed."""

from __future__ import annotations

from collections.abc import Iterator

from dynalake.doctor.finding import Answer, Finding, Unread, judged, unknown

RETENTION_SECONDS_MIN = 7 * 86_400  # somebody may be away for a week
_RETENTION_SECONDS_MAX = 1_209_600  # 14 days, as long as SQS keeps a message
_COUNTS = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible", "ApproximateNumberOfMessagesDelayed")


def check_queue(table: str, name: str, url: str, attributes: Answer, is_poison: bool = False) -> Iterator[Finding]:
    """`attributes` are of GetQueueAttributes, None where there is no such queue. `is_poison` tells the queue that is
    told of dead letters from one of batches given up.
    """
    check = "poison queue" if is_poison else "failure queue"
    if isinstance(attributes, Unread):
        yield unknown(check, table, attributes)
        return
    if attributes is None:
        yield judged(check, table, False, f"no queue {name}", "Make it, or name another one")
        return
    told = attributes.get("Attributes", {})
    depth = sum(int(told.get(count, 0)) for count in _COUNTS)
    do = f"dynalake redrive --queue {url}, then dynalake compact"
    if is_poison:
        do = (f"dynalake dead-letters, then dynalake redrive; then, where nothing but dead letters is told to it, "
              f"aws sqs purge-queue --queue-url {url}")  # fmt: skip
    yield judged(check, table, depth == 0, f"{name}: {depth} messages", do)
    seconds = int(told.get("MessageRetentionPeriod", 0))
    yield judged(
        f"{check} retention", table, seconds >= RETENTION_SECONDS_MIN, f"{name}: {seconds / 86_400:g} days",
        f"aws sqs set-queue-attributes --queue-url {url} --attributes MessageRetentionPeriod={_RETENTION_SECONDS_MAX}",
    )  # fmt: skip


def check_failed_objects(table: str, place: str, listed: Answer) -> Finding:
    """Objects of failures stay when they have been redriven, so that any may be done with: redrive knows which."""
    if isinstance(listed, Unread):
        return unknown("failed objects", table, listed)
    if listed is None:
        return judged("failed objects", table, False, f"no bucket of {place}", "Make it, or name another one")
    if not listed.get("Contents"):
        return Finding("failed objects", table, "ok", f"none under {place}")
    do = f"dynalake redrive --from {place}: it takes in what no redrive has yet"
    return unknown("failed objects", table, Unread(f"some under {place}", do))
