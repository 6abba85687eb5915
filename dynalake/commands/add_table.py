"""`dynalake add-table`: registers a DynamoDB table."""

from __future__ import annotations

import re
from typing import Annotated

import typer

from lake.config import BUCKETS_MAX

DYNAMODB_NAME = "[A-Za-z0-9_.-]{1,255}"
NAME = "add-table"
EXAMPLE = "dynalake add-table orders --from-dynamodb"


def run(
    context: typer.Context,
    table: Annotated[str, typer.Argument(help="The table's name in DynamoDB.")],
    hash_key: Annotated[str | None, typer.Option(help="The hash key, NAME:TYPE with type S, N or B.")] = None,
    range_key: Annotated[str | None, typer.Option(help="The range key, if there is one, NAME:TYPE.")] = None,
    from_dynamodb: Annotated[bool, typer.Option("--from-dynamodb", help="Ask DynamoDB for the keys.")] = False,
    surface: Annotated[
        str, typer.Option(help="Where its changes come from: kds (Kinesis Data Streams) or streams (native).")
    ] = "kds",
    mask: Annotated[
        list[str] | None, typer.Option(help="What never lands of it, PATH=drop|redact|hash; as often as you like.")
    ] = None,
    buckets: Annotated[
        int, typer.Option(help="Buckets of the current state; 128 to 256 MB each is good.", min=1, max=BUCKETS_MAX)
    ] = 16,
    ttl: Annotated[
        str, typer.Option(help="What the current state does with items that expire by TTL: delete or keep.")
    ] = "delete",
) -> None:
    """Register a table. The same one again changes nothing."""
    from lake.config import TableConfig
    from lake.dynamodb import DynamoDB
    from lake.errors import ConfigError
    from lake.keys import KeyAttribute, KeySchema
    from lake.lake import add_table, open_lake
    from lake.masks import parse_masks

    if surface not in ("kds", "streams"):
        raise typer.BadParameter(f"expected kds or streams, found {surface!r}", param_hint="--surface")
    if ttl not in ("delete", "keep"):
        raise typer.BadParameter(f"expected delete or keep, found {ttl!r}", param_hint="--ttl")
    if not re.fullmatch(DYNAMODB_NAME, table):
        raise typer.BadParameter(f"expected a DynamoDB table's name ({DYNAMODB_NAME}), found {table!r}")
    if from_dynamodb == (hash_key is not None) or (from_dynamodb and range_key is not None):
        raise typer.BadParameter("expected either --hash-key (and --range-key, if there is one) or --from-dynamodb")
    if hash_key is None:
        keys = DynamoDB().describe(table).keys
    else:
        try:
            keys = KeySchema(KeyAttribute.parse(hash_key), KeyAttribute.parse(range_key) if range_key else None)
        except ConfigError as fault:
            raise typer.BadParameter(str(fault)) from fault
    try:
        masks = parse_masks(dict(one.rpartition("=")[::2] for one in mask or ()), keys, "--mask")
    except ConfigError as fault:
        raise typer.BadParameter(str(fault)) from fault
    config = TableConfig(
        "", table, keys, "kds" if surface == "kds" else "streams", buckets, "keep" if ttl == "keep" else "delete", masks
    )
    lake = add_table(open_lake(context.obj.uri), config)
    registered = lake.config.table(table)
    name = registered.name
    if registered.buckets != buckets:
        print(f"table {name} was registered before and keeps its {registered.buckets} buckets")
    if registered.ttl != ttl:
        print(f'table {name} was registered before with ttl = "{registered.ttl}"; change it in lake.toml')
    if mask and set(registered.masks) != set(masks):
        raise ConfigError(
            "add table", table, expected="a table not registered yet, or with these masks", got="one with other masks",
            remedy="Change them in lake.toml; docs/capture.md says in which order",
        )  # fmt: skip
    print(f"table {name} registered; its changes land under {lake.raw}, next: dynalake compact {name}")
