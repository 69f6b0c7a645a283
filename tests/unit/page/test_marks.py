from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

from support.page_runs import PageRun

from supervisor.page.gathering import RunData, gather
from supervisor.page.marks import answer_of, incident_marks, nonfinite_marks, process_marks
from supervisor.records import ActionName


def test_every_incident_is_marked_on_every_curve_by_its_rung(run: RunData) -> None:
    traces = incident_marks(run, "r0-", {"loss": "y", "grad_norm": "y2"})
    told = [(each["name"], each["x"], each["yaxis"], each["marker"]["symbol"], each["customdata"]) for each in traces]
    assert told == [
        ("skip_batch", [10], "y", "circle", ["r0-incident-1"]),
        ("skip_batch", [10], "y2", "circle", ["r0-incident-1"]),
        ("reload_checkpoint", [30], "y", "square", ["r0-incident-2"]),
        ("reload_checkpoint", [30], "y2", "square", ["r0-incident-2"]),
    ]
    assert [answer_of(each) for each in run.story.incidents] == [ActionName.SKIP_BATCH, ActionName.RELOAD_CHECKPOINT]


def test_a_mark_lies_on_the_line(run: RunData) -> None:
    (at, *_), *_ = [each["y"] for each in incident_marks(run, "", {"loss": "y"})]
    before, after = 2.0 / 10 + 0.1, 2.0 / 12 + 0.1
    assert math.isclose(at, math.sqrt(before * after), rel_tol=1e-5)


def test_a_worker_that_was_lost_is_marked_where_it_last_was(run: RunData) -> None:
    (trace,) = process_marks(run, "r0-", "y3")
    assert (trace["x"], trace["yaxis"]) == ([44], "y3")
    # Its record does not say which worker it was, as those of before.
    assert trace["customdata"] == ["r0-life-1"]
    assert "killed (SIGKILL)" in trace["hovertext"][0]


def test_a_mark_of_a_lost_worker_leads_to_its_incident(run: RunData) -> None:
    (process,) = run.story.processes
    known = dataclasses.replace(process, record=process.record.model_copy(update={"life": 1}))
    story = dataclasses.replace(run.story, in_time=(*run.story.incidents, known))
    (trace,) = process_marks(dataclasses.replace(run, story=story), "r0-", "y3")
    assert trace["customdata"] == ["r0-process-1"]


def test_values_that_are_not_finite_are_marked_with_their_steps() -> None:
    (trace,) = nonfinite_marks([5, 6, 7, 8], [1.0, math.nan, math.inf, 2.0], "y3", "loss")
    assert trace["x"] == [6, 7, None]
    assert trace["hovertext"][0] == "steps 6 to 7: loss is nan and inf at 2 of them"
    assert nonfinite_marks([1], [1.0], "y3", "loss") == []


def test_a_mark_of_a_hostile_run_holds_no_html(hostile: RunData) -> None:
    told = json.dumps([*incident_marks(hostile, "", {"loss": "y"}), *process_marks(hostile, "", "y3")])
    assert "<" not in told.replace("<br>", "").replace("<extra></extra>", "")


def test_an_incident_of_a_run_whose_loss_was_never_finite_is_marked_too(tmp_path: Path) -> None:
    run = PageRun(tmp_path)
    run.steps(range(5), loss=math.nan)
    run.incident(1, 5)
    (trace,) = incident_marks(gather(str(tmp_path)), "", {"loss": "y"})
    assert (trace["x"], trace["y"]) == ([5], [0.5])


def test_a_mark_beside_the_largest_number_there_is_lies_where_a_chart_can_draw_it(tmp_path: Path) -> None:
    run = PageRun(tmp_path)
    run.steps([0, 1, 2], loss=1.7976931348623157e308)
    run.incident(1, 3)
    run.steps([4], loss=1.7976931348623157e308)
    (trace,) = incident_marks(gather(str(tmp_path)), "", {"loss": "y"})
    assert trace["y"] == [1e100]
