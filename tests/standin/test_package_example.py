"""The example in the package's docstring, run as it stands against a small reader."""

import gzip
import json
import textwrap
from types import SimpleNamespace

import standin


def my_reader(objects: list[tuple[str, bytes]]) -> SimpleNamespace:
    """Latest change of each item by time, over all records, each event id counted once."""
    changes: dict[str, dict] = {}
    read = SimpleNamespace(items={}, duplicates_dropped=0, dead_letters=[])
    for _, body in objects:
        for line in gzip.decompress(body).split(b"\n")[:-1]:
            try:
                change = json.loads(line)
            except ValueError:
                read.dead_letters.append(line)
                continue
            read.duplicates_dropped += change["eventID"] in changes
            changes[change["eventID"]] = change
    for change in sorted(changes.values(), key=lambda c: c["dynamodb"]["ApproximateCreationDateTime"]):
        key = tuple((*value.items(),)[0] for value in change["dynamodb"]["Keys"].values())
        read.items[key] = change["dynamodb"].get("NewImage")
    read.items = {key: item for key, item in read.items.items() if item is not None}
    return read


def test_the_example_in_the_docstring_passes():
    assert standin.__doc__ is not None
    example = textwrap.dedent(standin.__doc__.partition("::\n")[2])
    names: dict = {"my_reader": my_reader}
    exec(example, names)
    names["test_my_reader_survives_a_bad_day"]()
