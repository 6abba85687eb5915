"""What should not be in a raw object, beside what should: each is a dead letter once, and the good is kept."""

from __future__ import annotations

import base64
import gzip
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import zstandard

from lake.catalog import load_table, open_catalog
from lake.dead_letters import DeadLetter, read_dead_letters
from lake.lake import Lake
from lake.layout import ledger_table
from tests.commands import dynalake
from tests.lakes import new_lake, rows
from tests.records import START_US, TIME, record, text

DAY_US = 86_400_000_000


def keyed(keys: Any, event_id: str = "k", **image: Any) -> bytes:
    return text(event_id, body={"Keys": keys, "NewImage": {**keys, **image} if isinstance(keys, dict) else {}})


PK, SK = {"pk": {"S": "p"}}, {"sk": {"S": "s"}}
IMAGE = PK | SK
BINARY = base64.b64encode(b"once \xff").decode()

POISON: dict[str, tuple[bytes, str]] = {
    "rubbish": (b"rubbish", "undecodable"),
    "nul bytes": (b"\x00\x01\x02", "undecodable"),
    "no UTF-8": (text("utf8").replace(b'"1"', b'"\xff\xfe"'), "undecodable"),
    "lone surrogate": (text("surrogate").replace(b'"1"', b'"\\ud800"'), "undecodable"),
    "cut": (text("cut")[:150], "undecodable"),
    "cut in a string": (text("cut in a string" * 20)[:192], "undecodable"),
    "two braces short": (text("short")[:-2], "undecodable"),
    "nested deep": (b'{"dynamodb":' + b"[" * 3_000 + b"]" * 3_000 + b"}", "undecodable"),
    "another's object": (b'{"message":"no record","detail":{"a":{"b":1}}}', "no change record"),
    "empty object": (b"{}", "no change record"),
    "array": (b'[1,{"a":2}]', "no change record"),
    "number": (b"17", "no change record"),
    "null": (b"null", "no change record"),
    "string": (b'"text"', "no change record"),
    "dynamodb a list": (text("list", dynamodb=[1]), "no change record"),
    "dynamodb null": (text("null", dynamodb=None), "no change record"),
    "dynamodb empty": (text("empty", dynamodb={}), "no change record"),
    "no table": (text("no table", tableName=...), "no change record"),
    "table a number": (text("table a number", tableName=5), "no change record"),
    "table empty": (text("table empty", tableName=""), "no change record"),
    "other table": (text("other table", tableName="elsewhere"), "unregistered table"),
    "event id missing": (text("x", eventID=...), "no change record"),
    "event id a number": (text("x", eventID=17), "no change record"),
    "event id empty": (text("x", eventID=""), "no change record"),
    "event name missing": (text("x", eventName=...), "no change record"),
    "event name unknown": (text("x", eventName="UPDATE"), "no change record"),
    "event name a list": (text("x", eventName=["INSERT"]), "no change record"),
    "lake a number": (text("x", _lake=5), "no change record"),
    "lake a list": (text("x", _lake=[1]), "no change record"),
    "lake of no source": (text("x", _lake={"source": "rumour"}), "contradictory"),
    "lake of a list": (text("x", _lake={"source": ["scan"]}), "contradictory"),
    "READ of the stream": (text("x", eventName="READ"), "contradictory"),
    "INSERT of a scan": (text("x", _lake={"source": "scan"}), "contradictory"),
    "no time": (text("x", body={TIME: ...}), "no change record"),
    "time a text": (text("x", body={TIME: "1700000000"}), "no change record"),
    "time with a fraction": (text("x", body={TIME: 1700000000.5}), "no change record"),
    "time of 8 digits": (text("x", body={TIME: 99_999_999}), "no change record"),
    "time of 18 digits": (text("x", body={TIME: 10**17}), "no change record"),
    "time of 30 digits": (text("x", body={TIME: 10**29}), "no change record"),
    "time negative": (text("x", body={TIME: -START_US}), "no change record"),
    "time true": (text("x", body={TIME: True}), "no change record"),
    "future": (text("x", body={TIME: time.time_ns() // 1000 + DAY_US + 600_000_000}), "future"),
    "future in ms": (text("x", body={TIME: time.time_ns() // 10**6 + 2 * 86_400_000}), "future"),
    "native record": (text("x", body={"SequenceNumber": "1" * 21}), "wrong surface"),
    "no keys": (text("x", body={"Keys": ...}), "keyless"),
    "keys a list": (text("x", body={"Keys": []}), "keyless"),
    "hash key missing": (keyed(SK), "keyless"),
    "range key missing": (keyed(PK), "keyless"),
    "key empty": (keyed({"pk": {"S": ""}, **SK}), "keyless"),
    "key a number": (keyed({"pk": {"N": "5"}, **SK}), "keyless"),
    "key without type": (keyed({"pk": "p", **SK}), "keyless"),
    "key null": (keyed({"pk": None, **SK}), "keyless"),
    "key and image differ": (text("x", body={"NewImage": {"pk": {"S": "other"}, **SK}}), "contradictory"),
    "key not in the image": (text("x", body={"Keys": IMAGE, "NewImage": PK}), "contradictory"),
    "INSERT with an OldImage": (text("x", body={"OldImage": IMAGE}), "contradictory"),
    "INSERT without an image": (text("x", body={"NewImage": ...}), "contradictory"),
    "MODIFY without a NewImage": (
        text("x", eventName="MODIFY", body={"Keys": IMAGE, "OldImage": IMAGE, "NewImage": ...}), "contradictory",
    ),
    "REMOVE with a NewImage": (text("x", eventName="REMOVE"), "contradictory"),
    "image a text": (text("x", body={"NewImage": "x"}), "contradictory"),
    "image a list": (text("x", body={"NewImage": [IMAGE]}), "contradictory"),
    "binary encoded once": (keyed(IMAGE, b={"B": BINARY}), "undecodable"),
    "binary no base64": (keyed(IMAGE, b={"B": "%%%"}), "undecodable"),
    "binary set no base64": (keyed(IMAGE, b={"BS": ["a]b"]}), "undecodable"),
    "binary set of numbers": (keyed(IMAGE, b={"BS": [1]}), "undecodable"),
    "binary deep inside": (keyed(IMAGE, m={"M": {"l": {"L": [{"B": BINARY}]}}}), "undecodable"),
}  # fmt: skip
FORMS = ("lines", "no delimiters")


@dataclass(slots=True)
class Taken:
    """A lake after a `compact`, and after one more with `--reread`."""

    lake: Lake
    event_ids: list[str]
    letters: list[DeadLetter]
    letters_reread: list[DeadLetter]
    letter_counts: dict[str, int]


def take(root: Path, objects: dict[str, bytes]) -> Taken:
    lake = new_lake(root)
    for name, data in objects.items():
        path = Path(lake.raw) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    outcome = dynalake(lake.root, "compact")
    assert (outcome.code, outcome.errors) == (0, "")
    letters = list(read_dead_letters(lake.dead_letters))
    again = dynalake(lake.root, "compact", "--reread", "--json")
    assert json.loads(again.out)[0]["changes"] == 0
    ids = [row[0] for row in rows(lake, "SELECT event_id FROM orders_changes ORDER BY ALL")]
    ledger = load_table(open_catalog(lake), ledger_table("orders"))
    assert ledger is not None
    entries = ledger.scan().to_arrow().to_pylist()
    counts = {Path(entry["uri"]).name: entry["dead_letters"] for entry in entries}
    return Taken(lake, ids, letters, list(read_dead_letters(lake.dead_letters)), counts)


def good(case: str, form: str) -> tuple[bytes, bytes]:
    return text(f"{case}/{form}/1"), text(f"{case}/{form}/2")


@pytest.fixture(scope="module")
def poisoned(tmp_path_factory: pytest.TempPathFactory) -> Taken:
    """An object for each kind of poison and form, a good record before it and one behind."""
    objects = {}
    for case, (bad, _) in POISON.items():
        for form, end in zip(FORMS, (b"\n", b""), strict=True):
            before, after = good(case, form)
            data = before + end + bad + end + after + end
            objects[f"{case}.{form}"] = data if form == "lines" else gzip.compress(data)
    return take(tmp_path_factory.mktemp("poison") / "lake", objects)


@pytest.mark.parametrize("case", POISON)
def test_poison_is_a_dead_letter_once_and_the_good_beside_it_is_kept(poisoned: Taken, case: str) -> None:
    bad, reason = POISON[case]
    for form in FORMS:
        wanted = [f"{case}/{form}/1", f"{case}/{form}/2"]
        assert [event_id for event_id in poisoned.event_ids if event_id.startswith(f"{case}/{form}/")] == wanted
        assert poisoned.letter_counts[f"{case}.{form}"] == 1
    for letters in (poisoned.letters, poisoned.letters_reread):
        (letter,) = [letter for letter in letters if letter.raw == bad]
        assert (letter.reason, letter.record) == (reason, 2), letter.detail
        assert Path(letter.object).name.startswith(f"{case}.")


def test_poison_shows_in_status_and_dead_letters(poisoned: Taken) -> None:
    (status,) = json.loads(dynalake(poisoned.lake.root, "status", "--json").out)
    assert status["dead_letters"] + status["dead_letters_of_no_table"] == len({bad for bad, _ in POISON.values()})
    assert status["changes"] == 4 * len(POISON)
    shown = json.loads(dynalake(poisoned.lake.root, "dead-letters", "--json", "--limit", "1000").out)
    assert len({letter["id"] for letter in shown}) == len(shown) == len(POISON)
    assert dynalake(poisoned.lake.root, "dead-letters").code == 0


LINE = b"\n"
ODD_OBJECTS: dict[str, bytes] = {
    "empty": b"",
    "white space": b" \n\t\r\n \n",
    "empty gzip": gzip.compress(b""),
    "empty zstd": zstandard.compress(b""),
    "crlf": text("crlf 1") + b"\r\n" + text("crlf 2") + b"\r\n",
    "no last delimiter": text("open 1") + LINE + text("open 2"),
    "blank lines": LINE * 3 + text("blank 1") + LINE * 3 + text("blank 2") + LINE * 3,
    "pretty": b"\n".join(json.dumps(record(f"pretty {n}"), indent=2).encode() for n in (1, 2)),
    "mixed": text("mixed 1") + text("mixed 2") + LINE + text("mixed 3") + LINE,
    "two members": gzip.compress(text("member 1") + LINE) + gzip.compress(text("member 2") + LINE),
    "two frames": zstandard.compress(text("frame 1") + LINE) + zstandard.compress(text("frame 2") + LINE),
    "long line": text("long", body={"NewImage": {"pk": {"S": "long"}, "sk": {"S": "1"}, "t": {"S": "x" * 3_000_000}}}),
    "escapes": text('escaped " \\ \u2028 \U0001f600 /', body={"Keys": IMAGE, "NewImage": IMAGE}),
    "times": LINE.join(
        text(f"time {n}", body={TIME: n}) for n in (1_700_000_000, 1_700_000_000_000, 1_700_000_000_000_000)
    ),
    "nearly tomorrow": text("tomorrow", body={TIME: time.time_ns() // 1000 + DAY_US - 600_000_000}),
    "shards": LINE.join(text(f"shard {n}", _lake={"shard_id": n, "sequence_number": n}) for n in (5, "s", None, [1])),
    "null _lake": text("null _lake", _lake=None),
    "spaced": json.dumps(record("spaced"), separators=(" , ", " : ")).encode(),
    "more than we know": text("more", extra={"a": [1]}, body={"StreamViewType": "NEW_AND_OLD_IMAGES"}),
    "a folder.gz/inner": text("inner"),
    "sp ace é '\" [*]?%25{}#&.gz": text("name"),
    ".hidden": text("hidden"),
    "_marker/x": text("marker"),
}  # fmt: skip


def test_what_is_merely_odd_is_taken_in(tmp_path: Path) -> None:
    taken = take(tmp_path / "lake", ODD_OBJECTS)
    assert taken.letters == []
    expected = []
    for name, data in ODD_OBJECTS.items():
        if not name.startswith((".", "_")) and name not in ("empty", "white space", "empty gzip", "empty zstd"):
            expected += [rest.split('"')[0] for rest in _plain(data).split('"eventID":"')[1:]]
    spelled = {"escaped \\": 'escaped " \\ \u2028 \U0001f600 /'}
    loose = ["pretty 1", "pretty 2", "spaced"]  # the ones with spaces about their colons
    assert sorted(taken.event_ids) == sorted([spelled.get(one, one) for one in expected] + loose)
    query = "SELECT DISTINCT created_at_us FROM orders_changes WHERE event_id LIKE 'time %'"
    assert rows(taken.lake, query) == [(START_US,)]
    names = {Path(row[0]).name for row in rows(taken.lake, "SELECT DISTINCT raw_object FROM orders_changes")}
    assert "sp ace é '\" [*]?%25{}#&.gz" in names


def _plain(data: bytes) -> str:
    if data.startswith(b"\x1f\x8b"):
        data = gzip.decompress(data)
    if data.startswith(b"\x28\xb5\x2f\xfd"):
        data = b"".join(
            zstandard.ZstdDecompressor().decompressobj().decompress(b"\x28\xb5\x2f\xfd" + part)
            for part in data.split(b"\x28\xb5\x2f\xfd")[1:]
        )
    return data.decode()
