from __future__ import annotations

from supervisor.page.gathering import RunData
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
