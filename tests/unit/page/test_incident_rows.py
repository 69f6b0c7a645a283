from __future__ import annotations

from pathlib import Path

import pytest
from support.page_runs import PageRun, step_event

from supervisor.page.gathering import RunData, gather
from supervisor.page.incident_rows import MOST_TOLD, incident_rows
from supervisor.report.story_view import render_incident


def test_a_row_tells_what_explain_tells(run: RunData) -> None:
    first, second, process = incident_rows(run, "r0-")
    assert (first.anchor, first.step, first.what, first.blame, first.answer) == (
        *("r0-incident-1", "10", "nonfinite_loss", "data", "skip_batch"),
    )
    told = [line.strip() for section in first.sections for line in section.lines]
    explained = {line.strip().removeprefix("- ") for line in render_incident(run.story.incidents[0], run.run_dir)}
    assert set(told) <= explained
    assert [(each.kind, each.before, each.after, each.verdict) for each in first.experiments] == [
        ("canaries", "1.25", "1.5", "unharmed")
    ]
    assert second.answer == "reload_checkpoint"
    assert (process.anchor, process.answer, process.outcome) == ("r0-process-1", "restart", "restarted")


def test_a_traceback_of_a_process_keeps_its_lines(tmp_path: Path) -> None:
    run = PageRun(tmp_path)
    run.worker(step_event(0, 0, 1.0))
    run.dies("Traceback\n  File x\nValueError: y")
    (row,) = incident_rows(gather(str(tmp_path)), "")
    assert (row.answer, row.outcome) == ("", "not restarted")
    assert [(each.title, each.lines) for each in row.sections if each.as_it_is] == [
        ("What it left behind", ("Traceback", "  File x", "ValueError: y"))
    ]


@pytest.mark.slow
def test_of_very_many_incidents_the_last_are_told_in_short(tmp_path: Path) -> None:
    run = PageRun(tmp_path)
    run.worker(step_event(0, 0, 1.0))
    for number in range(1, MOST_TOLD + 3):
        run.incident(number, 10 * number)
    rows = [*incident_rows(gather(str(tmp_path)), "")]
    assert [row.cut for row in rows] == [False] * MOST_TOLD + [True] * 2
    assert [section.title for section in rows[-1].sections] == ["Where it comes from", "What to change"]
