"""`dynalake explain`: why the lake says what it says of an item."""

from __future__ import annotations

import json
from collections import deque
from contextlib import ExitStack
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dynalake.console import AsJson, Memory, print_rows, progress_bar

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lake.config import TableConfig
    from lake.lake import Lake
    from proof.explain import Story
    from proof.story import Holding, ToldChange

NAME = "explain"
EXAMPLE = "dynalake explain orders c1 o7"
ATTRIBUTES_SHOWN = 12  # of a change
SHOWN_MAX = 60  # characters of an image or a value in a table
_NAMES = ("#", "time", "op", "from", "batch", "marks", "event id", "raw object", "record", "what it changed")


def run(
    context: typer.Context,
    table: Annotated[str, typer.Argument(help="The table, by its name in the lake or in DynamoDB.")],
    key: Annotated[
        list[str],
        typer.Argument(
            help="The item's hash key, then its range key: N in any spelling, B in base64; a masked one as the lake "
            "has it. Write -- before values that begin with a dash."
        ),
    ],
    plain: Annotated[
        bool, typer.Option("--plain", help="KEY is the plain key: masked with the lake's secret first.")
    ] = False,
    search_raw: Annotated[
        bool, typer.Option("--search-raw", help="Look for copies in every raw object that the ledger names.")
    ] = False,
    no_table: Annotated[bool, typer.Option("--no-table", help="Do not ask DynamoDB for the item.")] = False,
    images: Annotated[bool, typer.Option("--images", help="Print whole images.")] = False,
    limit: Annotated[int, typer.Option(help="Changes, copies and ties that are shown; --json has all.", min=1)] = 50,
    memory_mb: Memory = 4096,
    as_json: AsJson = False,
) -> None:
    """Tell an item's whole story: every change, where it lies, what was dropped, what log, state and table have."""
    from lake.dynamodb import DynamoDB
    from lake.lake import open_lake
    from proof.explain import Settings, explain

    lake = open_lake(context.obj.uri)
    config = lake.config.table(table)
    item_key = _item_key(lake, config, key, plain)
    with ExitStack() as still_open:
        with progress_bar(f"search raw objects for {config.name}") as progress:
            settings = Settings(search_raw, images, tuple(key) if plain else None, memory_mb, progress=progress)
            source = None if no_table else DynamoDB
            story = still_open.enter_context(explain(lake, config, item_key, source, settings))
        if as_json:
            _print_json(story)
        else:
            _print(story, limit, images, f"{lake.uri}/")


def _item_key(lake: Lake, table: TableConfig, key: Sequence[str], plain: bool) -> str:
    """The lake's text of the key; wrong usage where it cannot be one of the table's."""
    from lake.masks import TableMasks
    from lake.secret import open_mask_key

    kinds = " and ".join(map(str, table.keys.attributes))
    try:
        item_key = table.keys.item_key(*key)
        str(item_key).encode()  # of a terminal: bytes that are no UTF-8 come as what nothing can hold
    except ValueError as fault:
        raise typer.BadParameter(f"{table.name} has the key {kinds}: {fault}", param_hint="KEY") from fault
    if not plain or not table.masks:
        return str(item_key)
    masks = TableMasks(table.masks, table.keys, open_mask_key(lake))
    return str(table.keys.item_key_of(masks.image(table.keys.values_of(str(item_key)))))


def _print_json(story: Story) -> None:
    """One document; the changes come last and one by one, for there may be very many."""
    told: dict[str, Any] = {one.name: getattr(story, one.name) for one in fields(story) if one.name != "changes"}
    told = {name: _plain(value) for name, value in told.items()}
    head = json.dumps(told, indent=2, ensure_ascii=False).removesuffix("\n}")
    print(head + ',\n  "changes": [', end="")
    separator = "\n"
    for change in story.changes():
        print(separator + json.dumps(asdict(change), ensure_ascii=False), end="")
        separator = ",\n"
    print("\n  ]\n}")


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    return asdict(value) if hasattr(value, "__dataclass_fields__") else value


def _print(story: Story, limit: int, images: bool, root: str) -> None:
    """For people: places are told from the lake on, `root`."""
    print(f"{story.table}: {story.item_key}")
    last = deque(enumerate(story.changes(), 1), maxlen=limit)
    if last:
        print_rows(_NAMES, [_change_row(n, change, root) for n, change in last])
    if story.change_count > len(last):
        print(f"{story.change_count - len(last):,} earlier changes are not shown; --limit shows more, --json all")
    if images:
        for n, change in last:
            print(f"#{n} OldImage {change.old_image}\n#{n} NewImage {change.new_image}")
    _print_copies(story, [change for _, change in last], limit, root)
    _print_ties(story, limit)
    _print_letters(story, limit, root)
    _print_holdings(story)
    print(story.verdict.sentence)


def _change_row(n: int, change: ToldChange, root: str) -> list[Any]:
    marks = {"late": change.is_late, "tied": change.is_tied, "TTL": change.is_ttl,
             "OldImage does not fit": change.old_image_fits is False}  # fmt: skip
    origin = [change.source, change.shard_id, change.sequence_number]
    changed = [f"{one.name}: {_short(one.before)} → {_short(one.after)}" for one in change.changed[:ATTRIBUTES_SHOWN]]
    if len(change.changed) > ATTRIBUTES_SHOWN:
        changed.append(f"and {len(change.changed) - ATTRIBUTES_SHOWN} more")
    return [
        n, change.event_time, change.op, "\n".join(part for part in origin if part), change.batch,
        ", ".join(mark for mark, is_so in marks.items() if is_so), change.event_id,
        change.raw_object.removeprefix(root),
        change.place if change.record is None else str(change.record), "\n".join(changed),
    ]  # fmt: skip


def _short(value: str | None) -> str:
    if value is None:
        return "–"
    return value if len(value) <= SHOWN_MAX else f"{value[:SHOWN_MAX]}…"


def _print_copies(story: Story, shown: Sequence[ToldChange], limit: int, root: str) -> None:
    rows = [
        (change.event_id, copy.raw_object.removeprefix(root), copy.record, copy.event_time, copy.why)
        for change in shown
        for copy in change.copies
    ]
    if rows:
        print_rows(["event id", "raw object", "record", "time", "dropped as a duplicate, for"], rows[:limit])
    if story.copies_dropped > min(len(rows), limit):
        print(f"{story.copies_dropped:,} copies in all were dropped as duplicates; --json has them")
    if story.strays:
        print("Records of the item that are no copies of what the log has:")
        rest = [(one.event_id, one.raw_object.removeprefix(root), str(one.record)) for one in story.strays[:limit]]
        print_rows(["event id", "raw object", "record"], rest)
    looked = f"{story.searched:,} of {story.ledger_objects:,} raw objects were looked through"
    print(looked + ("" if story.searched >= story.ledger_objects else "; --search-raw looks through all") + ".")
    for uri, fault in list(story.faults.items())[:limit]:
        print(f"  {fault}: {uri.removeprefix(root)}")
    if len(story.faults) > limit:
        print(f"  and {len(story.faults) - limit:,} more that are gone, damaged or unreadable")


def _print_ties(story: Story, limit: int) -> None:
    if story.ties:
        rows = [(tie.event_time, "\n".join(tie.event_ids), ", ".join(tie.settled_by)) for tie in story.ties[-limit:]]
        print_rows(["instant", "changes, as they were put in order", "by"], rows, "Ties")
    if len(story.ties) > limit:
        print(f"{len(story.ties) - limit:,} earlier ties are not shown")


def _print_letters(story: Story, limit: int, root: str) -> None:
    letters = story.dead_letters
    if letters.naming:
        rows = [
            (one.id, one.reason, one.detail, one.place.removeprefix(root), one.by) for one in letters.naming[:limit]
        ]
        print_rows(["dead letter", "reason", "detail", "place", "names it by"], rows)
    if letters.count > min(len(letters.naming), limit):
        print(f"{letters.count:,} dead letters name it")
    if letters.unread:
        print(f"{letters.unread:,} sealed dead letters could not be looked into: {letters.why}")


def _print_holdings(story: Story) -> None:
    state, table = story.state, story.in_table
    what_state = f"covers batch {state.covered_batch}"
    if not state.counts:
        what_state = "of another log or policy: no query looks at it"
    elif state.tail_changes:
        what_state += f"; {state.tail_changes:,} changes in the tail" + ("" if state.in_tail else ", all late")
    in_table = [None, None, None, "no item" if table.image is None else _short(table.image), None]
    if not table.asked or table.error:
        in_table = [None, None, None, "?", table.error or "not asked"]
    rows = [
        ["what the log says it must be", *_held(story.log), None],
        ["current state", *_held(state.row), what_state],
        ["what queries see", *_held(story.queries), None],
        ["the table itself", *in_table],
    ]
    print_rows(["where", "op", "time", "expired", "item", ""], rows)


def _held(held: Holding | None) -> list[str | None]:
    if held is None:
        return [None, None, None, "no item"]
    return [held.op, held.event_time, held.expired_at, _short(held.image)]
