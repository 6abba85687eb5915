"""docs/playbook.md: each entry's fault is brought about, and its commands are run as they are printed.

What is shown behind a command is compared, `…` standing for anything. What an entry says is lost is held against the
table's history: where it says nothing, the log ends with every change, and elsewhere it must lack some. At the end the
lake is proven. All of `aws …` is really run on the stand-in but for what it does not have, where botocore checks the
parameters: `ONLY_CHECKED`. `terraform apply` stands for what infra/ would set right.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import tests.faults.playbook_capture
import tests.faults.playbook_lake  # noqa: F401  (they register their faults)
from standin.server import AwsStandIn
from tests.aws_commands import USAGE, Aws
from tests.faults.account import DAY_SECONDS, Account
from tests.faults.playbook import FAULTS, PLAYBOOK, code_of, entries
from tests.shell import Shell
from tests.test_documents import is_as_shown

pytestmark = pytest.mark.faults

ENTRIES = {entry.heading: entry for entry in entries()}
ONLY_CHECKED = {"A change was too large for the stream": {"kinesis update-max-record-size"}}
# Left to `make faults`, as CI runs a share: what they try is tried by another entry too, but for a command or two.
AT_LENGTH = {
    "Streaming goes to another stream", "The stream is throttled", "The mapping is switched off",
    "Messages come near their end", "Dead letters, wrong surface", "compact loses every commit",
    "A job looks in the wrong Region", "A raw object was overwritten",
}  # fmt: skip
BEFORE_US = 60 * DAY_SECONDS * 1_000_000


def test_each_entry_has_a_fault_and_each_fault_an_entry() -> None:
    assert sorted(ENTRIES) == sorted(FAULTS) and set(ENTRIES) >= AT_LENGTH


@pytest.fixture
def aws_of_entry(request: pytest.FixtureRequest) -> Iterator[AwsStandIn]:
    """The stand-in with what the fault asks of it, some weeks ago: time has yet to pass."""
    heading = request.node.callspec.params["heading"]
    with AwsStandIn(start_us=time.time_ns() // 1_000 - BEFORE_US, **FAULTS[heading].standin) as found:
        yield found


@pytest.mark.parametrize(
    "heading", [pytest.param(one, marks=pytest.mark.slow) if one in AT_LENGTH else one for one in ENTRIES]
)
def test_an_entry(heading: str, aws_of_entry: AwsStandIn, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    entry, fault, aws = ENTRIES[heading], FAULTS[heading], Aws()
    for name in ("COLUMNS", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in aws_of_entry.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("boto3.DEFAULT_SESSION", None)
    monkeypatch.chdir(tmp_path)
    account = Account(aws_of_entry, monkeypatch, **fault.account)
    if fault.begins:
        account.begin()
    injection = fault.inject(account)
    next(injection)
    commands = {"dynalake": account.dynalake, "aws": aws, "terraform": account.terraform}
    with Shell(commands, tmp_path) as shell:
        for command, shown in entry.commands:
            check(shell, command, shown)
    proven_at = account.writes
    with pytest.raises(StopIteration):
        next(injection)
    assert aws.only_checked == ONLY_CHECKED.get(heading, set())
    if account.writes > proven_at:  # else the entry's own `verify` has said it
        account.settle()
        account.check_proven()
    missing = account.missing()
    assert bool(missing) != entry.texts["Lost."].startswith("Nothing"), missing


def check(shell: Shell, command: str, shown: str) -> None:
    code, output = shell.run(command)
    assert code == code_of(shown), f"$ {command}\n{output}"
    assert is_as_shown(output, shown), f"$ {command}\n{output}"


def test_each_entry_ends_with_the_lake_proven() -> None:
    for entry in ENTRIES.values():
        assert any(command.startswith("dynalake verify") and "\nverified: " in f"\n{shown}"
                   for command, shown in entry.commands), entry.heading  # fmt: skip


def test_each_entry_is_found_by_a_symptom() -> None:
    named = PLAYBOOK.read_text(encoding="utf-8").partition("## Into the stream")[0]
    assert [heading for heading in ENTRIES if f"[{heading}]" not in named] == []


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("dynamodb describe-tabel --table-name orders", "describe-tabel"),
        ("dynamodb describe-table --table orders", "--table"),
        ("dynamodb describe-table", "--table-name"),
        ("dynamodb describe-table --table-name a b", "b"),
        ("kinesis increase-stream-retention-period --stream-name s --retention-period-hours week", "week"),
        ("kinesis update-shard-count --stream-name s --target-shard-count 2 --scaling-type EVEN", "EVEN"),
        ("lambda update-event-source-mapping --uuid u --enabled true", "--enabled"),
        ("cloudwatch get-metric-statistics --namespace n --metric-name m --dimensions Nam=a,Value=b", "Nam"),
        ("nothing describe-it", "nothing"),
    ],
)
def test_a_command_that_aws_would_not_take_is_refused(command: str, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that what is printed is known to be what AWS' command line takes."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    outcome = Aws()(command.split())
    assert outcome.code == USAGE and told in outcome.errors
