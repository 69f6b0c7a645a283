"""`supervisor runs`: a line for each run, as text and as JSON."""

from __future__ import annotations

import json
from pathlib import Path

from support.command import ask

from supervisor.cli import runs_command
from supervisor.events import EventLog, schema
from supervisor.run_layout import RunLayout


def test_each_run_has_a_line_and_an_object(tmp_path: Path) -> None:
    with EventLog(RunLayout(tmp_path / "runs" / "a").rank_events, "r", 0) as log:
        log.emit(schema.RunStartedEvent(steps=20))
    (tmp_path / "runs" / "b\x1b[2J" / "events").mkdir(parents=True)
    (tmp_path / "runs" / "b\x1b[2J" / "events" / "rank0.jsonl").write_text("no event\nno event\n")

    shown = ask("runs", cwd=tmp_path).stdout
    title, first, second = shown.splitlines()

    assert title.split()[0] == "run"
    assert first.split()[:2] == ["runs/a", "running"]
    assert second.startswith("runs/b\\x1b[2J  unreadable: ")
    objects = json.loads(ask("runs", "runs", "--json", cwd=tmp_path).stdout)
    assert [each["state"] for each in objects] == ["running", "unreadable"]


def test_where_there_is_none_that_is_said(tmp_path: Path) -> None:
    assert ask("runs", ".", cwd=tmp_path).stdout == ".: no runs here or below\n"
    missing = ask("runs", "missing", cwd=tmp_path)
    assert (missing.returncode, missing.stderr) == (
        2,
        "missing: cannot be read (No such file or directory): name a folder that holds runs\n",
    )
    assert runs_command.__all__ == ["runs"]
