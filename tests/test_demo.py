"""The demo, small: it ends in a verified lake that can be gone on with, and spares folders that are not its own."""

from __future__ import annotations

import json
import os
from pathlib import Path

import boto3
import pytest

from tests.commands import dynalake


def test_the_whole_chain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "of somebody")  # the demo must not go there, and leave it as it is
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    folder = tmp_path / "demo"
    outcome = dynalake(tmp_path, "demo", str(folder), "--days", "2", "--rounds", "2")
    assert (outcome.code, outcome.errors) == (0, ""), outcome
    assert "verified: all" in outcome.out and "backfill scanned" in outcome.out
    assert os.environ["AWS_PROFILE"] == "of somebody"
    (status,) = json.loads(dynalake(folder, "status", "--json").out)
    assert status["changes"] > 1_000 and status["dead_letters"] > 0
    assert status["verified_through"] is not None, "what was proven is kept, as verify keeps it"
    counts = "SELECT source, count(*) > 0 AS some FROM airline_changes GROUP BY source ORDER BY source"
    assert json.loads(dynalake(folder, "sql", counts, "--format", "json").out) == [
        {"source": "scan", "some": True}, {"source": "stream", "some": True},
    ]  # fmt: skip


def test_a_folder_that_is_not_its_own(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").touch()
    assert "other files" in dynalake(tmp_path, "demo", str(tmp_path)).fault
    assert (tmp_path / "thesis.txt").exists()
