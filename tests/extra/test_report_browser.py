"""The page of `dynalake report` in a real browser: in light and dark, wide and on a phone, with script and without."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from lake.config import TableConfig
from lake.lake import add_table, open_lake
from tests.commands import dynalake
from tests.extra.servers import NODE
from tests.lakes import SCHEMA, compacted, land_records, refreshed
from tests.records import record
from tests.test_report import IMAGE, SCRIPT, Story

pytestmark = pytest.mark.extra

LOOK = Path(__file__).parent / "node" / "look.cjs"
INSTALLED = ("chromium", "chromium-browser", "google-chrome")
NO_BROWSER = 3  # look.cjs ends so where none starts
CONTRAST_MIN = 4.5  # WCAG 2, level AA
PANELS = {
    "Throughput", "Freshness", "Last verify", "Items", "What kinds of changes", "How late changes come", "Hot keys",
    "Duplicates", "Dead letters", "Files of the log, by day", "Files of the state, by bucket", "Columns",
}  # fmt: skip
ALWAYS = {"Freshness", "Last verify", "Dead letters"}  # also of a table that has nothing yet
Look = dict[str, Any]


def make_page(folder: Path) -> Path:
    """Of a table with much in it, hostile and long names too, and of one that has nothing yet."""
    lake = Story(folder / "lake", seed=7).lake
    keys = {"pk": {"S": IMAGE}, "sk": {"S": SCRIPT}}
    image = keys | {SCRIPT: {"S": "v"}, "x" * 300: {"S": "v"}, **{f"attribute {n}": {"N": "1"} for n in range(60)}}
    land_records(lake, "1", [record("hostile", body={"Keys": keys, "NewImage": image})])
    compacted(lake)
    refreshed(lake)
    add_table(open_lake(lake.uri), TableConfig("", "A.Long-Name_" + "y" * 100, SCHEMA))
    page = folder / "page.html"
    assert dynalake(lake.uri, "report", "--output", str(page), "--days", "9999").code == 0
    return page


@pytest.fixture(scope="module", name="seen")
def _seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    node = shutil.which("node")
    if node is None:
        pytest.skip("a browser is driven by Node, which is not installed")
    if not (NODE / "playwright-core").exists():
        pytest.skip("playwright-core is not installed: make test-extra installs it, with npm")
    is_packed = (NODE / "@sparticuz" / "chromium").exists()
    browser = "" if is_packed else next(filter(None, map(shutil.which, INSTALLED)), None)
    if browser is None:
        pytest.skip(f"no browser: neither @sparticuz/chromium nor any of {', '.join(INSTALLED)} is installed")
    folder = tmp_path_factory.mktemp("report")
    command = [node, str(LOOK), str(NODE), browser, str(make_page(folder))]
    ended = subprocess.run(
        command, capture_output=True, text=True, timeout=300, env={**os.environ, "TMPDIR": str(folder)}, check=False
    )
    if ended.returncode == NO_BROWSER:
        pytest.skip(f"no browser starts: {ended.stderr[:300]}")
    assert ended.returncode == 0, ended.stderr
    found: dict[str, Any] = json.loads(ended.stdout)
    return found


@pytest.fixture(params=["light wide", "light phone", "dark wide", "dark phone"], name="look")
def _look(request: pytest.FixtureRequest, seen: dict[str, Any]) -> Look:
    (found,) = [one for one in seen["looks"] if f"{one['scheme']} {one['width']}" == request.param]
    return found


def test_nothing_is_wrong_or_asked_for(look: Look) -> None:
    assert look["errors"] == []
    assert [one for one in look["requests"] if not one.endswith("/page.html")] == []


def test_headings_and_charts_can_be_seen(look: Look) -> None:
    headings = look["headings"]
    assert headings[:3] == ["Lake report", "2 tables", "a_long_name_" + "y" * 100]
    assert {heading: headings.count(heading) for heading in PANELS} == {one: 1 + (one in ALWAYS) for one in PANELS}
    assert look["names"][0].startswith("Changes by ")
    assert len(look["charts"]) == 5 and min(look["charts"]) > 100


def test_text_stands_out(look: Look) -> None:
    assert len(look["contrasts"]) > 200
    assert [one for one in look["contrasts"] if one["contrast"] < CONTRAST_MIN] == []


def test_nothing_sticks_out(look: Look) -> None:
    assert look["overflow"] == 0


def test_colours_can_be_turned(look: Look) -> None:
    first, turned, back = look["grounds"]
    assert turned != first == back
    assert (brightness(first) < brightness(turned)) == (look["scheme"] == "dark")


def brightness(colour: str) -> int:
    return sum(map(int, colour.removeprefix("rgb(").removesuffix(")").split(", ")))


def test_columns_can_be_sorted(look: Look) -> None:
    counts = [int(text.replace(",", "")) for text in look["ascending"]]
    assert counts == sorted(counts) and len(set(counts)) > 1
    assert look["descending"] == look["ascending"][::-1]


def test_it_can_be_read_without_script(seen: dict[str, Any]) -> None:
    assert seen["plain"] == {"headings": 1 + 3 + len(PANELS) + len(ALWAYS), "charts": 5, "buttons": 0}
