"""`dynalake redrive`: dead letters, and what others keep of failed records, by today's rules."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dynalake.console import AsJson, Memory, Tables, now_us, print_json, print_rows, show_error

if TYPE_CHECKING:
    from ingest.redrive import Decided, Redrive, RedriveReport, Sink
    from lake.dead_letters import Ids
    from lake.errors import LakeError
    from lake.lake import Lake

NAME = "redrive"
EXAMPLE = "dynalake redrive orders --dry-run"
LEFT_TOLD_MAX = 1_000  # in JSON; on stderr all are named
TRUNCATED_REMEDY = "what is truncated its bytes cannot tell: land its object again, under its name, then compact"


def run(
    context: typer.Context,
    tables: Tables = None,
    source: Annotated[
        str | None,
        typer.Option("--from", help="Failures of Lambda and Firehose: a folder, file or s3://BUCKET/PREFIX."),
    ] = None,
    queue: Annotated[str | None, typer.Option(help="URL of an SQS queue of Lambda's on-failure messages.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would change, and write nothing.")] = False,
    limit: Annotated[int, typer.Option(help="How many changes --dry-run shows.", min=0)] = 20,
    memory_mb: Memory = 2048,
    as_json: AsJson = False,
) -> None:
    """Decide dead letters, or failures of others, anew by today's rules; what can be taken now lands for compact.

    It is recorded, and a second one changes nothing. Exit 1 where something is missing or cannot be read: it is named.
    """
    if sum(map(bool, (tables, source, queue))) > 1:
        raise typer.BadParameter("expected tables, --from or --queue: one of them at a time")
    if source == "" or queue == "":
        raise typer.BadParameter("expected a place, found an empty text")  # a variable of a script that is not set
    from lake.lake import open_lake
    from lake.redrives import redriven_ids

    lake = open_lake(context.obj.uri)
    job = _Job(lake, redriven_ids(lake), tables, source, queue)
    if dry_run:
        _show_effects(job, limit, memory_mb, as_json)
    else:
        _land(job, as_json)


@dataclass(slots=True)
class _Job:
    """What is redriven; `left` are the failures of which something cannot be taken, the first ones."""

    lake: Lake
    done: Ids
    tables: list[str] | None
    source: str | None
    queue: str | None
    left: list[str] = field(default_factory=list)

    def run(self, report: RedriveReport, sink: Sink, is_dry: bool) -> None:
        from ingest.failure_queue import redrive_queue
        from ingest.redrive import Redrive

        redrive: Redrive = Redrive(self.lake, self.done, report, sink, self.tell, now_us())
        if self.source is not None:
            redrive.objects(self.source)
        elif self.queue is not None:
            redrive_queue(self.queue, redrive, sink, is_dry)
        else:
            named = [self.lake.config.table(name) for name in self.tables or ()]
            redrive.letters(named or None)

    def tell(self, fault: LakeError) -> None:
        show_error(fault)
        if len(self.left) < LEFT_TOLD_MAX:
            self.left.append(str(fault))

    def end(self, report: RedriveReport) -> None:
        """Exit 1 where something was left; each was named."""
        if report.left:
            raise typer.Exit(1)


def _land(job: _Job, as_json: bool) -> None:
    from ingest.redrive import RedriveReport
    from ingest.redriven import Landings

    report = RedriveReport()
    try:
        job.run(report, Landings(job.lake, job.done, report, show_error, now_us()), is_dry=False)
    finally:
        if as_json:
            print_json(_fields(report, job))
        else:
            _print(report)
    job.end(report)


def _fields(report: RedriveReport, job: _Job) -> dict[str, Any]:
    return {**asdict(report), "reasons": dict(sorted(report.reasons.items())), "left_told": job.left}


def _print(report: RedriveReport) -> None:
    counts = {name: value for name, value in asdict(report).items() if name != "reasons"}
    print_rows([name.replace("_", " ") for name in counts], [list(counts.values())])
    _print_reasons(report)
    if report.landed:
        print("next: dynalake compact")


def _print_reasons(report: RedriveReport) -> None:
    if report.reasons:
        print_rows(["still poison", "records"], sorted(report.reasons.items()))
    if "truncated" in report.reasons:
        print(TRUNCATED_REMEDY)


@dataclass(slots=True)
class _Shown:
    """A sink that lands nothing: changes go to be judged, and of poison the first is kept to be shown."""

    judge: Callable[[bytes, str], None]
    limit: int
    poison: list[dict[str, Any]] = field(default_factory=list)

    def add(self, decided: Decided) -> None:
        from ingest.capture import Line

        if isinstance(decided.decision, Line):
            self.judge(decided.decision.text, decided.decision.table)
        elif len(self.poison) < self.limit:
            letter = decided.decision
            self.poison.append({"id": decided.id, "table": letter.table, "place": decided.place,
                                "effect": "still poison", "reason": letter.reason})  # fmt: skip

    def finish(self, failure: str) -> None:
        pass

    def flush(self) -> None:
        pass


def _show_effects(job: _Job, limit: int, memory_mb: int, as_json: bool) -> None:
    from ingest.redrive import RedriveReport
    from lake.records import decode_record, parse_record
    from proof.effects import Effects, ItemEffect, counted

    by_name = {table.dynamodb_name: table for table in job.lake.config.tables.values()}
    report, shown = RedriveReport(), list[ItemEffect]()
    at_us = now_us()
    effects = Effects(job.lake, memory_mb)

    def judge(text: bytes, name: str) -> None:
        effects.add(by_name[name], decode_record(parse_record(text), by_name[name].rules, at_us))

    sink = _Shown(judge, limit)
    try:
        job.run(report, sink, is_dry=True)
        counts = counted(effects.judged(by_name.values()), limit, shown.append)
    finally:
        effects.close()
    rows = [{**asdict(one), "created_at": _time(one.created_at_us)} for one in shown]
    if as_json:
        told = [{"table": table, "effect": effect, "changes": n} for (table, effect), n in sorted(counts.items())]
        print_json({**_fields(report, job), "effects": told, "changes": rows, "poison": sink.poison})
    else:
        names = ("table", "item_key", "op", "created_at", "effect")
        if rows:
            print_rows(["table", "item", "op", "time", "effect"], [[row[name] for name in names] for row in rows])
        if (left := counts.total() - len(rows)) > 0:
            print(f"and {left:,} more changes; --limit shows them")
        for one in sink.poison:
            print(f"still poison: {one['reason']}  {one['place']}")
        print_rows(["table", "effect", "changes"], [(*key, n) for key, n in sorted(counts.items())])
        _print_reasons(report)
        print("nothing was written")
    job.end(report)


def _time(us: int) -> str:
    return f"{datetime.fromtimestamp(us / 1e6, UTC):%Y-%m-%d %H:%M:%S.%f}Z"
