"""The table itself, and that its changes go where they should."""

from __future__ import annotations

from collections.abc import Iterator

from dynalake.doctor.finding import Answer, Finding, Unread, judged, unknown
from lake.config import TableConfig
from lake.dynamodb import DescribedTable

_IMAGES = "NEW_AND_OLD_IMAGES"
_AT_WORK = ("ACTIVE", "UPDATING")
_PASSING = ("ENABLING", "UPDATING", "DISABLING")


def check_table(
    table: TableConfig, described: DescribedTable | Unread | None, proven_id: str, expires_by: str | Unread | None
) -> Iterator[Finding]:
    """`proven_id` tells the table that was last proven, empty where none was; `expires_by` is the attribute of TTL."""
    name, there = table.name, table.dynamodb_name
    if isinstance(described, Unread):
        yield unknown("table", name, described)
        return
    yield judged("table", name, described is not None, there if described else f"no table {there}",
                 "Check the name, the account and the Region (AWS_PROFILE, AWS_DEFAULT_REGION)")  # fmt: skip
    if described is None:
        return
    yield judged(
        "key", name, described.keys == table.keys, " ".join(map(str, described.keys.attributes)),
        f"It was registered with {' '.join(map(str, table.keys.attributes))}: a table made anew with another key "
        "needs a lake of its own",
    )  # fmt: skip
    if proven_id and described.table_id:
        yield judged(
            "same table", name, described.table_id == proven_id, described.table_id,
            f"verify last saw another table of this name, {proven_id}: dynalake verify {there} --repair takes what the "
            "old one held out of the current state; or begin a new lake",
        )  # fmt: skip
    if isinstance(expires_by, Unread):
        yield unknown("time to live", name, expires_by)
    else:
        yield judged(
            "time to live", name, expires_by is not None or table.ttl == "delete",
            f"{f'by {expires_by}' if expires_by else 'off'}, policy {table.ttl}",
            f"Items do not expire, so that ttl = \"keep\" in lake.toml keeps nothing: aws dynamodb update-time-to-live "
            f"--table-name {there} --time-to-live-specification Enabled=true,AttributeName=NAME, or take the line out",
        )  # fmt: skip


def check_native_stream(table: TableConfig, described: DescribedTable) -> Finding:
    """AWS: "Change data capture for DynamoDB Streams": a stream's view cannot be changed, only that of a new stream."""
    view = described.stream_view
    update = f"aws dynamodb update-table --table-name {table.dynamodb_name} --stream-specification"
    enable = f"{update} StreamEnabled=true,StreamViewType={_IMAGES}; then dynalake backfill {table.dynamodb_name}"
    do = enable if view is None else f"{update} StreamEnabled=false; {enable}. The stream has a new ARN then"
    return judged("streaming", table.name, view == _IMAGES, f"DynamoDB stream, {view}" if view else "off", do)


def check_streaming(table: TableConfig, destinations: Answer) -> Iterator[Finding]:
    """One Kinesis stream is ACTIVE, and gets microseconds."""
    name, there = table.name, table.dynamodb_name
    if isinstance(destinations, Unread):
        yield unknown("streaming", name, destinations)
        return
    all_of_them = (destinations or {}).get("KinesisDataStreamDestinations", [])
    told = [(one.get("DestinationStatus", ""), one.get("StreamArn", "")) for one in all_of_them]
    of_note = [(status, arn) for status, arn in told if status != "DISABLED"]
    found = ", ".join(f"{status} to {arn.rpartition('/')[2]}" for status, arn in of_note) or "off"
    if len(of_note) == 1 and of_note[0][0] in _PASSING:
        yield unknown("streaming", name, Unread(found, "Wait until it is ACTIVE, and run it again"))
    elif len(of_note) > 1:
        do = f"Leave one: aws dynamodb disable-kinesis-streaming-destination --table-name {there} --stream-arn ARN"
        yield judged("streaming", name, False, found, do)
    else:
        yield judged(
            "streaming", name, [status for status, _ in of_note] == ["ACTIVE"], found,
            f"aws dynamodb enable-kinesis-streaming-destination --table-name {there} --stream-arn ARN "
            "--enable-kinesis-streaming-configuration ApproximateCreationDateTimePrecision=MICROSECOND; "
            f"then dynalake backfill {there} --again",
        )  # fmt: skip
    for one in all_of_them:
        if one.get("DestinationStatus") == "ACTIVE":
            precision = one.get("ApproximateCreationDateTimePrecision", "MILLISECOND")
            yield judged(
                "precision", name, precision == "MICROSECOND", precision,
                "Of two changes of an item in a millisecond the order is guessed: aws dynamodb "
                f"update-kinesis-streaming-destination --table-name {there} --stream-arn {one['StreamArn']} "
                "--update-kinesis-streaming-configuration ApproximateCreationDateTimePrecision=MICROSECOND",
            )  # fmt: skip


def stream_of(table: TableConfig, described: DescribedTable | Unread | None, destinations: Answer) -> str | None:
    """The ARN of the stream that the table's changes go to, where it is known."""
    if table.surface == "streams":
        return described.stream_arn if isinstance(described, DescribedTable) else None
    if not isinstance(destinations, dict):
        return None
    arns = [
        str(one["StreamArn"])
        for one in destinations.get("KinesisDataStreamDestinations", ())
        if one.get("DestinationStatus") in _AT_WORK
    ]
    return next(iter(arns), None)
