"""What the W&B sink writes, read by wandb's own protocol, and found by its own command."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.offline_wandb import records_of
from support.written_run import HOSTILE, WrittenRun, feed

pytest.importorskip("wandb")

from wandb.proto.wandb_internal_pb2 import Record

from supervisor.sinks.wandb import WandbSink


def records(directory: Path) -> list[Any]:
    paths = sorted(directory.glob("wandb/offline-run-*/run-*.wandb"))
    return [Record.FromString(data) for path in paths for data in records_of(path)]


def history(directory: Path) -> list[dict[str, Any]]:
    rows = [record.history for record in records(directory) if record.WhichOneof("record_type") == "history"]
    return [{item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in row.item} for row in rows]


def test_steps_evaluations_and_incidents_are_in_one_run(tmp_path: Path) -> None:
    run = WrittenRun(tmp_path / '<b>"mine"\x1b')
    run.start()
    run.steps(0, 1, loss=0.25)
    run.evaluate(2, **{HOSTILE: 0.5})
    run.incident(1, 3, reason=HOSTILE, closes_at=5)
    run.steps(6, loss=float("nan"))
    run.finish(7)
    kept = feed(WandbSink(run.about, tmp_path / "wb", "the project"), run)
    rows = history(tmp_path / "wb")
    assert [row["loss"] for row in rows if "loss" in row][:2] == [0.25, 0.25]
    assert [row["step"] for row in rows if "loss" in row] == [0, 1, 6]
    assert [row["_step"] for row in rows if "loss" in row] == [0, 1, 6]
    assert any(row.get(f"metrics/{HOSTILE}") == 0.5 for row in rows)
    assert any(key.startswith("incident_table") for row in rows for key in row)
    (of_run, *_) = [record.run for record in records(tmp_path / "wb") if record.WhichOneof("record_type") == "run"]
    assert (of_run.run_id, of_run.project) == ("abc123", "the project")
    assert of_run.display_name == '<b>"mine"\\x1b'
    run.steps(7)
    feed(WandbSink(run.about, tmp_path / "wb", "the project"), run, kept)
    assert [row["step"] for row in history(tmp_path / "wb") if "loss" in row][-1] == 7
    ids = {record.run.run_id for record in records(tmp_path / "wb") if record.WhichOneof("record_type") == "run"}
    assert ids == {"abc123"}
    found = subprocess.run(
        [sys.executable, "-m", "wandb", "sync", "--dry-run", "--yes"],
        cwd=tmp_path / "wb",
        capture_output=True,
        text=True,
        check=False,
    )
    assert re.search(r"Would sync [12] run", found.stdout + found.stderr), found
