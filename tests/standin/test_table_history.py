"""A table's history: what DynamoDB takes, what it refuses, and what it emits."""

import re

import pytest

from standin import Table, Write
from standin.history import canonical_key, canonical_number
from standin.size import image_size

O1 = {"pk": {"S": "o1"}, "sk": {"S": "a"}}


def test_writes_become_changes_that_chain():
    table = Table("orders")
    table.put(O1 | {"n": {"N": "1"}}, at_us=10)
    table.put(O1 | {"n": {"N": "2"}}, at_us=10)
    table.delete(O1, at_us=30, ttl=True)
    table.put(O1, at_us=40)
    first, second, third, fourth = table.changes
    assert [change.op for change in table.changes] == ["INSERT", "MODIFY", "REMOVE", "INSERT"]
    assert [change.at_us for change in table.changes] == [10, 10, 30, 40]
    assert [change.ordinal for change in table.changes] == [0, 1, 2, 3]
    assert [change.ttl for change in table.changes] == [False, False, True, False]
    assert (first.old, first.new) == (None, O1 | {"n": {"N": "1"}})
    assert (second.old, second.new) == (first.new, O1 | {"n": {"N": "2"}})
    assert (third.old, third.new) == (second.new, None)
    assert (fourth.old, fourth.new) == (None, O1)
    assert all(change.keys == O1 for change in table.changes)
    assert table.items == {(("S", "o1"), ("S", "a")): O1}
    assert table.get(O1) == O1


def test_event_ids_follow_from_seed_table_and_ordinal():
    def event_ids(name: str, seed: int) -> list[str]:
        table = Table(name, seed=seed)
        return [change.event_id for at_us in range(3) if (change := table.put(O1 | {"n": {"N": str(at_us)}}, at_us))]

    assert event_ids("orders", 1) == event_ids("orders", 1)
    distinct = {*event_ids("orders", 1), *event_ids("orders", 2), *event_ids("other", 1)}
    assert len(distinct) == 9
    assert all(re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", event_id) for event_id in distinct)


@pytest.mark.parametrize(
    ("present", "put"),
    [
        ({"n": {"N": "1"}}, {"n": {"N": "1.0"}}),
        ({"n": {"N": "0"}}, {"n": {"N": "-0"}}),
        ({"n": {"N": "1E2"}}, {"n": {"N": "100"}}),
        ({"s": {"SS": ["a", "b"]}}, {"s": {"SS": ["b", "a"]}}),
        ({"s": {"NS": ["1", "2"]}}, {"s": {"NS": ["2.0", "1"]}}),
        ({"m": {"M": {"x": {"S": "1"}, "y": {"S": "2"}}}}, {"m": {"M": {"y": {"S": "2"}, "x": {"S": "1"}}}}),
        ({"l": {"L": [{"N": "1"}]}}, {"l": {"L": [{"N": "1.00"}]}}),
    ],
)
def test_a_put_of_an_equal_item_emits_nothing(present, put):
    table = Table("orders")
    table.put(O1 | present, at_us=1)
    assert table.put(O1 | put, at_us=2) is None
    assert len(table.changes) == 1


@pytest.mark.parametrize(
    ("present", "put"),
    [
        ({"n": {"N": "1"}}, {"n": {"S": "1"}}),
        (
            {"n": {"N": "12345678901234567890123456789012345678"}},
            {"n": {"N": "12345678901234567890123456789012345679"}},
        ),
        ({"l": {"L": [{"S": "a"}, {"S": "b"}]}}, {"l": {"L": [{"S": "b"}, {"S": "a"}]}}),
        ({"b": {"BOOL": True}}, {"b": {"BOOL": False}}),
        ({"a": {"S": ""}}, {}),
        ({"s": {"SS": ["a"]}}, {"s": {"SS": ["a", "b"]}}),
    ],
)
def test_a_put_of_another_item_emits_a_modify(present, put):
    table = Table("orders")
    table.put(O1 | present, at_us=1)
    change = table.put(O1 | put, at_us=2)
    assert change is not None
    assert (change.op, change.old, change.new) == ("MODIFY", O1 | present, O1 | put)


def test_a_delete_of_an_absent_item_emits_nothing():
    table = Table("orders")
    assert table.delete(O1, at_us=1) is None
    assert table.changes == []


def test_items_as_of_an_instant_include_its_writes():
    table = Table("orders", range_key=None)
    table.put({"pk": {"S": "a"}, "n": {"N": "1"}}, at_us=10)
    table.put({"pk": {"S": "b"}}, at_us=20)
    table.put({"pk": {"S": "a"}, "n": {"N": "2"}}, at_us=20)
    table.delete({"pk": {"S": "b"}}, at_us=30)
    a, b = (("S", "a"),), (("S", "b"),)
    assert table.items_as_of(9) == {}
    assert table.items_as_of(19) == {a: {"pk": {"S": "a"}, "n": {"N": "1"}}}
    assert table.items_as_of(20) == {a: {"pk": {"S": "a"}, "n": {"N": "2"}}, b: {"pk": {"S": "b"}}}
    assert table.items_as_of(30) == table.items


def test_items_may_be_written_out_of_step_but_an_item_may_not():
    table = Table("orders", range_key=None)
    table.put({"pk": {"S": "a"}}, at_us=10)
    table.put({"pk": {"S": "b"}}, at_us=5)
    with pytest.raises(ValueError, match="write an item's history in order"):
        table.put({"pk": {"S": "a"}, "n": {"N": "1"}}, at_us=9)
    with pytest.raises(ValueError, match=r"table orders: write to .* at 9 us, but its last was at 10 us"):
        table.delete({"pk": {"S": "a"}}, at_us=9)
    assert table.items == {(("S", "a"),): {"pk": {"S": "a"}}, (("S", "b"),): {"pk": {"S": "b"}}}
    table.delete({"pk": {"S": "a"}}, at_us=10)
    with pytest.raises(ValueError, match="in order"):
        table.put({"pk": {"S": "a"}}, at_us=9)


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ({"sk": {"S": "a"}}, "key pk must be S, got None"),
        ({"pk": {"N": "1"}, "sk": {"S": "a"}}, "key pk must be S"),
        ({"pk": "o1", "sk": {"S": "a"}}, "key pk must be S, got 'o1'"),
        ({"pk": {"S": ""}, "sk": {"S": "a"}}, "key pk is empty"),
        ({"pk": {"S": "o1"}}, "key sk must be S, got None"),
        (O1 | {"x": "text"}, "attribute x: 'text' is no DynamoDB JSON value"),
        (O1 | {"x": {"S": 1}}, "attribute x"),
        (O1 | {"x": {"N": 1}}, "attribute x"),
        (O1 | {"x": {"N": "one"}}, "attribute x"),
        (O1 | {"x": {"N": "NaN"}}, "attribute x"),
        (O1 | {"x": {"B": "not base64"}}, "attribute x"),
        (O1 | {"x": {"BOOL": "true"}}, "attribute x"),
        (O1 | {"x": {"NULL": False}}, "attribute x"),
        (O1 | {"x": {"SS": []}}, "attribute x"),
        (O1 | {"x": {"NS": ["1", "1.0"]}}, "attribute x"),
        (O1 | {"x": {"S": "a", "N": "1"}}, "attribute x"),
        (O1 | {"x": {"T": "a"}}, "attribute x"),
        (O1 | {"x": {"M": {"y": {"L": [{"S": "a"}, {"S": None}]}}}}, r"attribute x\.y\[1\]"),
    ],
)
def test_what_dynamodb_refuses_is_a_value_error(item, message):
    table = Table("orders")
    with pytest.raises(ValueError, match=message):
        table.put(item, at_us=1)
    assert table.items == {} and table.changes == []


def test_a_key_is_a_string_a_number_or_binary():
    with pytest.raises(ValueError, match="table orders: key pk has type 'BOOL'"):
        Table("orders", hash_key=("pk", "BOOL"))


def test_spellings_of_a_number_are_one_key():
    table = Table("orders", hash_key=("n", "N"), range_key=("b", "B"))
    table.put({"n": {"N": "1"}, "b": {"B": "AA=="}}, at_us=1)
    change = table.put({"n": {"N": "1.00"}, "b": {"B": "AA=="}, "x": {"S": "x"}}, at_us=2)
    assert change is not None
    assert change.op == "MODIFY"
    assert change.keys == {"n": {"N": "1.00"}, "b": {"B": "AA=="}}
    assert canonical_key(change.keys) == table.changes[0].key == (("N", "1E0"), ("B", "AA=="))


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("0", "0E0"),
        ("-0.00", "0E0"),
        ("100", "1E2"),
        ("-1.50", "-15E-1"),
        ("1E-130", "1E-130"),
        ("0.1e-129", "1E-130"),
        ("9.9999999999999999999999999999999999999E+125", "99999999999999999999999999999999999999E88"),
        ("12345678901234567890123456789012345678", "12345678901234567890123456789012345678E0"),
    ],
)
def test_a_number_has_one_canonical_text(text, canonical):
    assert canonical_number(text) == canonical


def test_the_history_does_not_change_with_the_item_it_was_given():
    item = O1 | {"m": {"M": {"l": {"L": [{"S": "a"}]}}}}
    table = Table("orders")
    table.put(item, at_us=1)
    item["m"]["M"]["l"]["L"].append({"S": "b"})
    assert table.items == {(("S", "o1"), ("S", "a")): O1 | {"m": {"M": {"l": {"L": [{"S": "a"}]}}}}}
    assert table.put(item, at_us=2) is not None


def test_a_table_is_made_of_writes():
    writes = [
        Write(at_us=1, item=O1, key=O1),
        Write(at_us=2, item=O1 | {"x": {"NULL": True}}, key=O1),
        Write(at_us=3, item=None, key=O1, ttl=True),
    ]
    table = Table("orders").apply(writes)
    assert [(change.op, change.ttl) for change in table.changes] == [
        ("INSERT", False),
        ("MODIFY", False),
        ("REMOVE", True),
    ]


@pytest.mark.parametrize(
    ("image", "size"),
    [
        # The three SizeBytes of https://docs.aws.amazon.com/lambda/latest/dg/with-ddb.html are sums of these.
        ({"Id": {"N": "101"}}, 5),
        ({"Id": {"N": "101"}, "Message": {"S": "New item!"}}, 21),
        ({"Id": {"N": "101"}, "Message": {"S": "This item has changed"}}, 33),
        ({"é": {"S": "日本"}}, 8),
        ({"n": {"N": "-1000"}}, 4),
        ({"n": {"N": "0"}}, 2),
        ({"b": {"B": "AAE="}}, 3),
        ({"x": {"BOOL": True}}, 2),
        ({"x": {"NULL": True}}, 2),
        ({"x": {"SS": ["a", "bc"]}}, 4),
        ({"x": {"NS": ["1", "22"]}}, 5),
        ({"x": {"BS": ["AA==", "AAE="]}}, 4),
        ({"x": {"L": []}}, 4),
        ({"x": {"L": [{"S": "ab"}]}}, 7),
        ({"x": {"M": {"y": {"S": "ab"}}}}, 8),
    ],
)
def test_sizes_are_counted_as_dynamodb_counts_them(image, size):
    assert image_size(image) == size
