from __future__ import annotations

from pathlib import Path

from support.page_runs import PageRun

from supervisor.events import schema
from supervisor.page.gathering import RunData, gather
from supervisor.page.headline import SIGN_OF_STATE, compared, facts, figures
from supervisor.report.run_status import RunState


def test_the_figures_are_those_of_status(run: RunData) -> None:
    told = {figure.name: (figure.value, figure.beside) for figure in figures(run)}
    assert told["Steps"] == ("60", "of 100")
    assert told["Incidents"] == ("2", "and 1 of its process")
    assert told["Cured"] == ("1", "skip_batch 1")
    assert told["Steps lost"] == ("2", "and 4 s in incidents")
    assert told["Workers lost"] == ("1", "of 2 started")
    assert dict(facts(run))["step"] == "60 of 100"


def test_every_state_has_a_sign() -> None:
    assert SIGN_OF_STATE.keys() == set(RunState)


def test_several_runs_side_by_side(run: RunData) -> None:
    rows = dict(compared([run, run]))
    assert rows["State"] == ["running", "running"]
    assert rows["Steps"] == ["60 of 100"] * 2
    assert rows["Cured"] == ["1 (skip_batch 1)"] * 2


def test_incidents_that_a_resume_went_back_over_are_told_beside_those_that_stand(tmp_path: Path) -> None:
    run = PageRun(tmp_path)
    run.worker(schema.RunStartedEvent(steps=50))
    run.steps(range(20))
    run.incident(1, 20)
    run.dies()
    run.parent(schema.WorkerStartedEvent(pid=8, restarts=1))
    run.worker(schema.RunResumedEvent(step=5, update=5, checkpoint_step=5))
    run.steps(range(5, 9))
    told = {figure.name: (figure.value, figure.beside) for figure in figures(gather(str(tmp_path)))}
    assert told["Incidents"] == ("0", "and 1 that a resume went back over, 1 of its process")


def test_the_rows_of_figures_are_always_full(run: RunData, tmp_path: Path) -> None:
    PageRun(tmp_path).steps([0])
    assert [len(figures(each)) for each in (run, gather(str(tmp_path)))] == [8, 8]
