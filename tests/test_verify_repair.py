"""verify --repair: whatever was damaged is found, named for what it is, mended and proven again, in one run."""

from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import standin
from lake.lake import Lake
from lake.proofs import last_proof
from proof.report import Report
from standin.fixtures import aws  # noqa: F401
from standin.server import AwsStandIn
from tests.commands import dynalake
from tests.lakes import compacted, new_lake, refreshed, table

RAW = "s3://raw/orders/"


@pytest.fixture(name="client")
def _client(aws: AwsStandIn) -> Any:  # noqa: F811
    aws.replicate("orders", bucket="raw", prefix="orders/", range_key=("sk", "S"))
    return aws.client("dynamodb")


def put(client: Any, name: str, **attributes: Any) -> None:
    client.put_item(TableName="orders", Item={"pk": {"S": name}, "sk": {"S": "1"}, **attributes})


def key(name: str) -> Any:
    return {"pk": {"S": name}, "sk": {"S": "1"}}


@pytest.fixture(name="lake")
def _lake(tmp_path: Path, aws: AwsStandIn, client: Any) -> Lake:  # noqa: F811
    """Sixty items with a history: half of it in the state, half in the tail; every third was deleted."""
    lake = new_lake(tmp_path / "lake", buckets=2)
    for n in range(60):
        put(client, f"i{n:02}", v={"N": "1"}, text={"S": "a"})
    aws.deliver()
    compacted(lake, raw_uri=RAW)
    refreshed(lake)
    for n in range(60):
        aws.clock.advance(seconds=0.01)
        if n % 3 == 0:
            client.delete_item(TableName="orders", Key=key(f"i{n:02}"))
        elif n % 3 == 1:
            put(client, f"i{n:02}", v={"N": "2"}, text={"S": "b"})
    aws.deliver()
    compacted(lake, raw_uri=RAW)
    aws.clock.advance(seconds=60)
    return lake


def rewrite(lake: Lake, name: str, damage: Any) -> None:
    for task in table(lake, name).scan().plan_files():
        path = Path(task.file.file_path.removeprefix("file://"))
        whole = pq.ParquetFile(path).read()
        pq.write_table(pa.Table.from_pylist(damage(whole.to_pylist()), whole.schema), path)


def without(column: str, name: str, op: str | None = None) -> Any:
    return lambda rows: [
        row for row in rows if not (row[column] == f"{name}|1" and (op is None or row["op"] == op))
    ]  # fmt: skip


def with_value(column: str, name: str, **cells: Any) -> Any:
    def damage(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [row | cells if row[column] == f"{name}|1" else row for row in rows]

    return damage


def verify(lake: Lake, *arguments: str) -> Any:
    return dynalake(Path(lake.uri), "verify", "orders", "--wait", "0", "--memory-mb", "1024", *arguments)


def check_repaired(lake: Lake, expected: dict[str, int]) -> Any:
    """Found as what it is; mended; and found no more by a run that looks at everything."""
    found = json.loads(verify(lake, "--json").out)
    assert found["counts"] == expected, found["differences"]
    assert found["verified_through"] is None
    ended = verify(lake, "--repair", "--json")
    assert ended.code == 0, (ended.errors, ended.out)
    after = json.loads(ended.out)
    assert (after["differing"], after["unproven"], after["counts"]) == (0, 0, {})
    assert after["verified_through"] == after["judged_through"]
    assert verify(lake).code == 0
    assert verify(lake, "--repair").errors == "", "nothing left to do"
    return ended


def wrong(name: str, value: str) -> str:
    return json.dumps({**key(name), "v": {"N": value}, "text": {"S": "a"}})


Damage = tuple[Any, dict[str, str]]
STATE: list[Damage] = [  # each of an item of its own
    (without("_item_key", "i02"), {"i02|1": "state damaged"}),
    (with_value("_item_key", "i05", _item=wrong("i05", "9")), {"i05|1": "state damaged"}),
    (with_value("_item_key", "i08", v=9), {"i08|1": "column damaged"}),
    (lambda rows: [*rows, *(row | {"_item_key": "x|1"} for row in rows[:1])], {"x|1": "state damaged"}),
]
LOG: list[Damage] = [
    (without("item_key", "i02"), {"i02|1": "log damaged"}),  # an old change, that the state knows
    (with_value("item_key", "i05", new_image=wrong("i05", "9")), {"i05|1": "log damaged"}),
    (with_value("item_key", "i08", op="REMOVE", new_image=None), {"i08|1": "log damaged"}),
    (without("item_key", "i01", "MODIFY"), {"i01|1": "differs"}),  # a new one, that only the tail knows
    (without("item_key", "i04"), {"i04|1": "differs"}),
    (without("item_key", "i03", "REMOVE"), {"i03|1": "extra in the lake"}),
]


@pytest.mark.parametrize(("where", "damages"), [("orders", STATE), ("orders_changes", LOG)], ids=["state", "log"])
def test_damage_is_found_and_mended(lake: Lake, where: str, damages: list[Damage]) -> None:
    expected: dict[str, str] = {}
    for damage, kinds in damages:
        rewrite(lake, where, damage)
        expected |= kinds
    found = json.loads(verify(lake, "--json").out)
    assert {one["item_key"]: one["kind"] for one in found["differences"]} == expected
    ended = check_repaired(lake, dict(Counter(expected.values())))
    is_of_state = where == "orders"
    assert (f"read {len(damages)} items again" in ended.errors) == (not is_of_state)
    assert ("made the current state anew" in ended.errors) == is_of_state


def test_what_never_came(aws: AwsStandIn, client: Any, lake: Lake) -> None:  # noqa: F811
    """Changes that nobody delivers: an insert, an update, a delete, and one deleted and made again."""
    put(client, "new")
    put(client, "i01", v={"N": "3"})
    client.delete_item(TableName="orders", Key=key("i02"))
    client.delete_item(TableName="orders", Key=key("i04"))
    put(client, "i04", v={"N": "4"})
    aws.clock.advance(seconds=60)
    check_repaired(lake, {"missing in the lake": 1, "extra in the lake": 1, "differs": 2})
    aws.deliver()  # after all, in the end
    compacted(lake, raw_uri=RAW)
    assert verify(lake).code == 0
    refreshed(lake, full=True)
    assert verify(lake).code == 0


def test_a_table_made_anew_under_its_name(aws: AwsStandIn, client: Any, lake: Lake) -> None:  # noqa: F811
    assert verify(lake).code == 0
    client.delete_table(TableName="orders")
    client.create_table(
        TableName="orders", BillingMode="PAY_PER_REQUEST",
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
        AttributeDefinitions=[{"AttributeName": n, "AttributeType": "S"} for n in ("pk", "sk")],
    )  # fmt: skip
    put(client, "i02", v={"N": "1"}, text={"S": "a"})
    put(client, "only")
    aws.clock.advance(seconds=60)
    ended = verify(lake)
    assert "is another table than verify saw last" in ended.errors
    assert ended.code == 1
    ended = verify(lake, "--repair")
    assert ended.code == 0, ended.errors
    assert "of which 39 are gone" in ended.errors
    assert verify(lake).errors == ""


def test_what_was_found_is_kept_in_the_lake(lake: Lake, client: Any, aws: AwsStandIn) -> None:  # noqa: F811
    assert last_proof(lake, "orders") is None
    first = json.loads(verify(lake, "--json").out)
    status = json.loads(dynalake(Path(lake.uri), "status", "--json").out)[0]
    assert status["verified_through"].replace(" UTC", "Z").replace(" ", "T") == first["verified_through"]
    assert (status["differing"], status["unproven"], status["not_proven"]) == (0, 0, [])
    put(client, "i02", v={"N": "7"})
    aws.clock.advance(seconds=60)
    assert verify(lake).code == 1
    later = json.loads(dynalake(Path(lake.uri), "status", "--json").out)[0]
    assert later["verified_through"] == status["verified_through"], "nothing is taken back"
    assert (later["differing"], later["not_proven"]) == (1, ["i02|1: differs"])
    assert "i02|1: differs" in dynalake(Path(lake.uri), "status").out


def test_what_was_found_before_cannot_be_read(lake: Lake) -> None:
    """What is found now is told all the same, and why it is not kept."""
    assert verify(lake).code == 0
    (place,) = (path for path in Path(lake.uri).rglob("*.json") if b"verified_through_us" in path.read_bytes())
    place.write_bytes(b"{")
    ended = verify(lake)
    assert (ended.code, "all 40 items are equal" in ended.out) == (0, True), (ended.out, ended.errors)
    assert "read the result of verify" in ended.errors


def test_a_sample(lake: Lake, client: Any, aws: AwsStandIn) -> None:  # noqa: F811
    ended = verify(lake, "--sample", "50%")
    assert (ended.code, ended.errors) == (0, "")
    assert "of a sample of 0.5 are equal" in ended.out
    proof = last_proof(lake, "orders")
    assert proof is not None
    assert (proof.sample, proof.verified_through_us) == (0.5, None), "it proves nothing of the rest"
    report = json.loads(verify(lake, "--sample", "100%", "--json").out)
    assert (report["compared"], report["verified_through"]) == (40, None)
    for n in range(30):
        put(client, f"lost{n}")
        client.delete_item(TableName="orders", Key=key(f"i{n:02}"))
    aws.clock.advance(seconds=60)
    report = json.loads(verify(lake, "--sample", "50%", "--json").out)
    assert report["counts"].keys() == {"missing in the lake", "extra in the lake"}
    assert 0 < report["differing"] < 50
    ended = verify(lake, "--sample", "100%", "--repair")
    assert ended.code == 0, ended.errors
    assert verify(lake).code == 0
    for wrong_share in ("1", "0%", "101%", "x%", "-1%"):
        assert verify(lake, "--sample", wrong_share).code == 2


def in_parts(report: Report) -> Any:
    return report.compared, report.equal, report.counts


@pytest.mark.parametrize("surface", ["kds", "streams"])
def test_many_parts_are_as_one(tmp_path: Path, surface: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the number of parts that the accounts are compared in, the same is found."""
    from tests.tables import START_US, FakeDynamoDB, Pipeline, check, item

    rng = random.Random(3)
    items = standin.Table("orders", ("pk", "S"), ("sk", "S"))
    pipeline = Pipeline(new_lake(tmp_path / "lake", surface=surface), items)
    for n in range(300):
        name = f"i{rng.randrange(120)}"
        if rng.random() < 0.2:
            items.delete(item(name), START_US + n)
        else:
            change = items.put(item(name, v={"NS": [str(rng.randrange(9)), "77"]}), START_US + n)
            if change is not None and rng.random() < 0.05:
                pipeline.lost.add(change.event_id)
        if n == 150:
            pipeline.deliver()
            refreshed(pipeline.lake)
    pipeline.deliver()
    source = FakeDynamoDB(items, START_US + 60_000_000)
    whole = check(pipeline.lake, source, 0, limit=1000)
    assert whole.differing
    monkeypatch.setattr("proof.compare.PART_ROWS_A_MB", 0.01)
    parts = check(pipeline.lake, source, 0, limit=1000)
    assert in_parts(parts) == in_parts(whole)
    assert {d.item_key: d.kind for d in parts.differences} == {d.item_key: d.kind for d in whole.differences}
