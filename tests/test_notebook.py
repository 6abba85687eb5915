"""The example notebook, run as a script: a cell that fails raises, and figures are those of the history itself."""

from __future__ import annotations

import importlib.util
import tempfile
from collections import defaultdict
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.test_tidy import ROOT

NOTEBOOK = ROOT / "examples" / "orders.py"


def test_the_notebook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    spec = importlib.util.spec_from_file_location("orders_notebook", NOTEBOOK)
    assert spec is not None and spec.loader is not None
    notebook = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(notebook)
    outputs, defined = notebook.app.run()
    items = list(notebook.make_history().items.values())
    names = {item["pk"]["S"]: item["name"]["S"] for item in items if item["sk"]["S"] == "META"}
    orders = [item for item in items if item["sk"]["S"].startswith("ORDER#")]
    revenue: dict[str, Decimal] = defaultdict(Decimal)
    for order in orders:
        if order["status"]["S"] == "shipped":
            revenue[names[order["pk"]["S"]]] += Decimal(order["total"]["N"])
    assert dict(zip(defined["revenue"]["name"], defined["revenue"]["revenue"], strict=True)) == {
        name: pytest.approx(float(total)) for name, total in revenue.items()
    }
    assert f"orders: {len(orders)}, revenue: {sum(revenue.values()):.2f}" in capsys.readouterr().out
    assert defined["by_status"].rows() == sorted(count_by_status(orders).items())
    paid = defined["waits"].set_index("to_value").loc["paid"]
    assert (paid["from_value"], paid["orders"]) == ("placed", len(orders))
    assert sum(defined["as_of"]["orders"]) == sum(at_us < 24 * notebook.HOUR_US for at_us in placed(notebook))
    assert sum(output is not None for output in outputs) >= 10
    defined["con"].close()


def count_by_status(orders: list[dict[str, Any]]) -> dict[str, int]:
    counts: dict[str, int] = defaultdict(int)
    for order in orders:
        counts[order["status"]["S"]] += 1
    return counts


def placed(notebook: Any) -> list[int]:
    """When orders were placed, since New Year."""
    changes = notebook.make_history().changes
    return [c.at_us - notebook.START_US for c in changes if c.op == "INSERT" and c.keys["sk"]["S"] != "META"]
