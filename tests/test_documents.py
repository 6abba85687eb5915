"""The documents do what they say: commands and snippets run as they stand, links lead somewhere, names are there.

Each document is one session in a folder of its own, from top to bottom. Of its fenced blocks

- `console` holds commands behind `$ ` (continued behind `> `) and, where there are lines behind a command, what it
  prints; `…` stands for any text, lines too. `make` is not run here: CI is.
- `python` is run, in one namespace; or saved, where its first line is a comment with a file's name.
- others are not run.
"""

from __future__ import annotations

import io
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import pytest
import typer

import standin
from compaction.compact import CompactReport
from compaction.refresh import RefreshReport
from dynalake.cli import app, main
from dynalake.commands.publish import PublishReport
from dynalake.doctor.finding import Finding
from ingest.backfill import BackfillReport
from ingest.exports import ExportReport
from ingest.progress import ShardProgress
from ingest.redrive import RedriveReport
from lake.catalog import open_catalog
from lake.columns import OURS
from lake.config import TableConfig
from lake.dead_letters import DeadLetter
from lake.lake import open_lake
from lake.log import ensure_ledger, ensure_log, key_columns
from proof.gaps import Gap, GapsReport, ImageDifference, Told
from proof.report import Report
from queries.status import table_status
from standin.server import AwsStandIn
from tests.lakes import SCHEMA, new_lake
from tests.test_tidy import FILES, ROOT

DOCUMENTS = [path for path in FILES if path.suffix == ".md"]
RUN = [
    "README.md", "docs/capture.md", "docs/doctor.md", "docs/explain.md", "docs/operations.md", "docs/proof.md",
    "docs/publish.md", "docs/queries.md", "docs/redrive.md", "docs/sizing.md", "docs/tables.md",
]  # fmt: skip
USER_DOCUMENTS = [ROOT / name for name in RUN]
FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
EXPORTED_US = 1_767_268_800_000_000  # noon of the first of January 2026
COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block of a document."""

    place: str
    language: str
    text: str


def blocks_of(name: str) -> Iterator[Block]:
    text = (ROOT / name).read_text(encoding="utf-8")
    for match in FENCE.finditer(text):
        yield Block(f"{name}:{text.count(chr(10), 0, match.start()) + 1}", match[1], match[2])


def commands_of(text: str) -> Iterator[tuple[str, str]]:
    """The commands of a console block, each with the output that is shown."""
    command, shown = "", ""
    for line in text.splitlines():
        if line.startswith("$ "):
            if command:
                yield command, shown
            command, shown = line[2:], ""
        elif line.startswith("> ") and not shown:
            command += "\n" + line[2:]
        else:
            shown += line + "\n"
    if command:
        yield command, shown


def run_command(command: str) -> tuple[int, str]:
    """The exit code and the output; `dynalake` in this process, as starting one takes a second."""
    words = shlex.split(command)
    if words[0] == "python":
        words[0] = sys.executable
    if words[0] != "dynalake":
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr
    output = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(output), redirect_stderr(output):
        patch.setattr(sys, "argv", words)
        try:
            main()
        except SystemExit as end:
            return int(end.code or 0), output.getvalue()
    return 0, output.getvalue()


def is_as_shown(output: str, shown: str) -> bool:
    """Whether output is as shown, `…` standing for anything, spaces at the ends of lines for nothing."""
    lines = [[line.rstrip() for line in text.strip().splitlines()] for text in (output, shown)]
    actual, pattern = ("\n".join(each) for each in lines)
    return re.fullmatch(".*?".join(map(re.escape, pattern.split("…"))), actual, re.DOTALL) is not None


class Session:
    """A document being followed in the present folder."""

    def __init__(self) -> None:
        self.names: dict[str, Any] = {"__name__": "__session__"}

    def follow(self, block: Block) -> None:
        if block.language == "console":
            for command, shown in commands_of(block.text):
                if not command.startswith("make "):
                    self.check(block.place, command, shown)
        elif block.language == "python":
            first, _, _ = block.text.partition("\n")
            if saved := re.fullmatch(r"# (\w+\.py)", first):
                Path(saved[1]).write_text(block.text, encoding="utf-8")
            else:
                with redirect_stdout(io.StringIO()):
                    exec(compile(block.text, block.place, "exec"), self.names)

    def check(self, place: str, command: str, shown: str) -> None:
        code, output = run_command(command)
        is_refused = any(line.startswith("dynalake: ") for line in shown.splitlines())
        assert code == int(is_refused), f"{place} $ {command}\n{output}"
        assert not shown or is_as_shown(output, shown), f"{place} $ {command}\n{output}"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in, with a plain terminal and no settings from outside."""
    monkeypatch.chdir(tmp_path)
    for name in ("DYNALAKE_LAKE", "FORCE_COLOR", "COLUMNS", "PYTHONHASHSEED"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return tmp_path


def prepare() -> None:
    """The lake that the README makes, its raw objects landed; all but the README begin with it."""
    script = next(block for block in blocks_of("README.md") if block.text.startswith("# land.py\n"))
    Session().follow(script)
    for command in ("dynalake init", "dynalake add-table orders --hash-key pk:S --range-key sk:S", "python land.py"):
        code, output = run_command(command)
        assert code == 0, output


def put_on_s3(s3: Any) -> None:
    """The same raw objects as the documents' `s3://my-bucket/firehose/`, and the export of `shop` beside them."""
    s3.create_bucket(Bucket="my-bucket")
    for path in Path("lake/raw").rglob("*.gz"):
        s3.put_object(Bucket="my-bucket", Key=f"firehose/{path.relative_to('lake/raw')}", Body=path.read_bytes())
    table = standin.Table("shop")
    for item in shop_items():
        table.put(item, EXPORTED_US - 1)
    for key, body in standin.full_export(table, EXPORTED_US, bucket="my-bucket", prefix="exports").objects.items():
        s3.put_object(Bucket="my-bucket", Key=key, Body=body)


def shop_items() -> list[dict[str, Any]]:
    return [{"pk": {"S": f"c{n % 3}"}, "sk": {"S": f"o{n}"}, "total": {"N": f"{n}.95"}} for n in range(20)]


def fill_shop(aws: AwsStandIn) -> None:
    """The documents' table `shop` in DynamoDB: it streams, and holds a few items."""
    aws.replicate("shop", bucket="shop-raw", range_key=("sk", "S"))
    for item in shop_items():
        aws.client("dynamodb").put_item(TableName="shop", Item=item)


@pytest.mark.parametrize("name", RUN)
def test_a_document_can_be_followed(name: str, folder: Path, aws: AwsStandIn) -> None:
    if name != "docs/sizing.md":  # which needs no lake and no table
        fill_shop(aws)
    if name == "docs/capture.md":
        aws.deliver()
    if name not in ("README.md", "docs/sizing.md"):
        prepare()
    if any("s3://my-bucket" in block.text for block in blocks_of(name) if block.language == "console"):
        put_on_s3(aws.client("s3"))
    session = Session()
    for block in blocks_of(name):
        session.follow(block)


def test_the_example_of_the_server(capsys: pytest.CaptureFixture[str]) -> None:
    """It is defined in the README's session, where another server is running; here it is called."""
    block = next(block for block in blocks_of("README.md") if "def check_what_lands" in block.text)
    names: dict[str, Any] = {"standin": standin}
    exec(compile(block.text, block.place, "exec"), names)
    names["check_what_lands"]()
    assert "orders/2026/01/01/00/" in capsys.readouterr().out


def test_output_is_compared() -> None:
    assert is_as_shown("a  \nb\nc\n", "a\n…c")
    assert not is_as_shown("a\nb\n", "a\n")
    assert list(commands_of("$ a 'b\n> c'\nd\n$ e\n")) == [("a 'b\nc'", "d\n"), ("e", "")]


def text_of(paths: list[Path]) -> str:
    return "\n".join(path.read_text(encoding="utf-8") for path in paths)


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_a_command_has_help_with_an_example_and_is_documented(name: str) -> None:
    command = COMMANDS[name]
    assert command.help
    assert command.epilog.startswith("Example: dynalake ")
    words = shlex.split(command.epilog.removeprefix("Example: "))
    command.make_context(name, words[words.index(name) + 1 :])  # raises for what is no option of it
    text = text_of(USER_DOCUMENTS)
    assert re.search(rf"dynalake (--lake \S+ )?{name}\b", text) or f"`{name}`" in text
    for parameter in command.params:
        missing = [option for option in parameter.opts if option.startswith("--") and option not in text]
        assert missing in ([], ["--help"])


def test_columns_counts_and_reasons_are_documented(folder: Path) -> None:
    lake = new_lake(folder / "lake")
    catalog, table = open_catalog(lake), TableConfig("orders", "orders", SCHEMA)
    schemas = (ensure_log(catalog, table).schema(), ensure_ledger(catalog, table).schema())
    names = {field.name for schema in schemas for field in schema.fields} - set(key_columns(SCHEMA)) | set(OURS)
    jobs = (CompactReport, RefreshReport, BackfillReport, ExportReport, RedriveReport, PublishReport)
    reports: tuple[Any, ...] = (*jobs, Report, DeadLetter, ShardProgress, GapsReport, Gap, Told, ImageDifference)
    names |= {field.name for kind in (*reports, Finding) for field in fields(kind)}
    names |= set(table_status(open_lake(folder / "lake"))[0])
    sources = text_of([path for folder in ("lake", "compaction", "ingest") for path in ROOT.glob(f"{folder}/*.py")])
    reasons = set(re.findall(r'PoisonError\(\s*"([^"]+)"', sources))
    assert len(reasons) > 5
    text = text_of(USER_DOCUMENTS)
    assert sorted(name for name in names | reasons if f"`{name}`" not in text) == []


def heading_anchors(text: str) -> set[str]:
    """The fragments by which the headings of a document are linked to."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_links_between_documents_resolve() -> None:
    broken = []
    for path in DOCUMENTS:
        for link in LINK.findall(FENCE.sub("", path.read_text(encoding="utf-8"))):
            if re.match(r"[a-z]+:", link):
                continue
            place, _, fragment = link.partition("#")
            target = (path.parent / place).resolve() if place else path
            anchors = heading_anchors(target.read_text(encoding="utf-8")) if target.is_file() and fragment else set()
            if not target.exists() or (fragment and fragment not in anchors):
                broken.append(f"{path.relative_to(ROOT)}: {link}")
    assert broken == []


def test_documents_name_no_paths_of_a_machine() -> None:
    found = [
        f"{path.relative_to(ROOT)}: {match[0]}"
        for path in DOCUMENTS
        for match in re.finditer(
            r"(?<![\w.])/(tmp|var|usr|home|root|work|Users)\b\S*", path.read_text(encoding="utf-8")
        )
    ]
    assert found == []
