from __future__ import annotations

import os
from pathlib import Path

import pytest
from support.page_runs import PageRun, eventful, step_event

from supervisor.errors import InputError
from supervisor.events import schema
from supervisor.page.gathering import gather, log_bytes
from supervisor.page.headline import facts
from supervisor.report.status import read_status
from supervisor.report.story import read_story
from supervisor.run_layout import INCIDENT_FILE


def test_all_that_a_run_tells_is_gathered(tmp_path: Path) -> None:
    eventful(tmp_path / "run")
    run = gather(str(tmp_path / "run"))
    assert run.name == "run"
    assert run.story == read_story(str(tmp_path / "run"))
    assert [run.curves.step[each] for each in run.curves.standing()] == [*range(10), *range(11, 60)]
    assert {number: [each.kind for each in found] for number, found in run.experiments.items()} == {
        1: ["canaries"],
        2: [],
    }
    assert [(each.step, each.state) for each in run.checkpoints] == [
        (0, "good"),
        (40, "on probation"),
        (44, "rejected"),
    ]
    assert [(life.from_step, life.last_step, life.orderly) for life in run.lives] == [(0, 44, False), (40, 59, True)]
    assert [row.name for row in run.ranks] == ["parent", "rank 0"]
    assert run.ladder[0] == "skip_batch"


def test_what_status_says_is_what_the_page_has(tmp_path: Path) -> None:
    eventful(tmp_path)
    assert gather(str(tmp_path)).story.status == read_status(tmp_path)


def test_nothing_is_written(tmp_path: Path) -> None:
    eventful(tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    gather(str(tmp_path))
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_a_torn_last_line_is_left_out(tmp_path: Path) -> None:
    run = eventful(tmp_path)
    whole = len(gather(str(tmp_path)).curves)
    with run.layout.rank_events.open("ab") as file:
        file.write(b'{"schema":1,"time":"2026-01-01T00:00:01Z","event":"st')
    assert len(gather(str(tmp_path)).curves) == whole


def test_a_line_that_is_damaged_before_the_end_is_named(tmp_path: Path) -> None:
    run = eventful(tmp_path)
    with run.layout.rank_events.open("ab") as file:
        file.write(b'{"schema":1,"time":"2026-01-01T00:00:01Z","event":"step"}\n{"a": 1}\n')
    with pytest.raises(InputError, match=r"rank0\.jsonl:\d+: not an event"):
        gather(str(tmp_path))


def test_sixteen_ranks(tmp_path: Path) -> None:
    run = eventful(tmp_path)
    for number in range(1, 16):
        run.rank(number, *(step_event(step, step, 1.0) for step in range(60)))
    found = gather(str(tmp_path))
    assert [(row.rank, row.step) for row in found.ranks] == [(None, None), *((rank, 59) for rank in range(16))]
    assert len(found.curves) == len(gather(str(tmp_path)).curves) > 0


@pytest.mark.parametrize("made", ["none", "file", "empty", "no_events", "no_lines"])
def test_what_is_no_run_is_said_to_be_none(tmp_path: Path, made: str) -> None:
    path = tmp_path / "run"
    if made == "file":
        path.write_text("x")
    elif made != "none":
        path.mkdir()
    if made in ("no_events", "no_lines"):
        (path / "events").mkdir()
    if made == "no_lines":
        (path / "events" / "rank0.jsonl").touch()
    with pytest.raises(InputError, match=rf"^{path}: "):
        gather(str(path))


def test_a_guard_without_a_job(tmp_path: Path) -> None:
    run = PageRun(tmp_path)
    run.worker(schema.RunStartedEvent(steps=10))
    found = gather(str(tmp_path))
    assert (found.ladder, len(found.curves), [life.number for life in found.lives]) == ((), 0, [1])
    assert found.job.startswith("# This run has no job.yaml")


def test_progress_is_told_in_bytes_of_the_log(tmp_path: Path) -> None:
    eventful(tmp_path)
    told: list[int] = []
    gather(str(tmp_path), told.append)
    assert told
    assert log_bytes(str(tmp_path)) == sum(os.path.getsize(path) for path in (tmp_path / "events").glob("*.jsonl"))  # noqa: PTH202
    assert max(told) <= log_bytes(str(tmp_path))


def test_a_record_of_an_incident_that_cannot_be_read_is_left_out_and_said_to_be(tmp_path: Path) -> None:
    run = eventful(tmp_path)
    whole = len(gather(str(tmp_path)).story.in_time)
    assert whole > 0
    (run.layout.incident(1) / INCIDENT_FILE).write_text("{")
    found = gather(str(tmp_path))
    assert len(found.story.in_time) == whole - 1
    (told,) = [value for name, value in facts(found) if name == "Left out"]
    assert "0001/incident.json: not the record of an incident" in told
