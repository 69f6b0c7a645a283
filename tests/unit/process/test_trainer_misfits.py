"""What a job asks of its trainer that the trainer does not offer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from supervisor.config.origins import Origins
from supervisor.events import EventLog
from supervisor.events.schema import RunStartedEvent, WarningEvent
from supervisor.job import Job, KeepBest
from supervisor.process.trainer_misfits import evaluation_misfits, schedule_too_short
from supervisor.run_layout import RunLayout

ORIGINS = Origins("j.yaml", {("evaluate_every_steps",): 4, ("keep_best",): 5}, {})


class Blind:
    @classmethod
    def from_config(cls, config: Any, *, seed: int) -> Any:
        return cls()


class Seeing(Blind):
    def evaluate(self) -> dict[str, float]:
        return {}

    @classmethod
    def from_config(cls, config: Any, *, seed: int, steps: int = 3) -> Any:
        return cls()


def test_a_trainer_without_evaluate_is_told_with_the_line_of_each_key() -> None:
    best = KeepBest.model_validate({"metric": "mrr", "mode": "max"})
    job = Job(trainer="mine:Blind", steps=9, evaluate_every_steps=3, keep_best=best)
    blind: Any = Blind()
    assert [str(problem) for problem in evaluation_misfits(job, blind, ORIGINS)] == [
        "j.yaml:4: evaluate_every_steps: Blind has no evaluate: "
        "give it evaluate() -> dict[str, float], or leave evaluate_every_steps out",
        "j.yaml:5: keep_best: Blind has no evaluate: give it evaluate() -> dict[str, float], or leave keep_best out",
    ]
    seeing: Any = Seeing()
    assert evaluation_misfits(job, seeing, ORIGINS) == []
    assert evaluation_misfits(Job(trainer="mine:Blind", steps=9), blind, ORIGINS) == []


@pytest.mark.parametrize(
    ("kind", "steps", "said"), [(Blind, 1600, True), (Blind, 1500, False), (Blind, 20, False), (Seeing, 1600, False)]
)
def test_more_steps_than_at_the_start_are_told_where_the_trainer_is_not(
    tmp_path: Path, kind: Any, steps: int, said: bool
) -> None:
    layout = RunLayout(tmp_path)
    assert schedule_too_short(layout, steps, kind) is None, "nothing is known without a log"
    with EventLog(layout.rank_events, "run", 0) as log:
        log.emit(WarningEvent(message="before it"))
        log.emit(RunStartedEvent(steps=1500))
    message = schedule_too_short(layout, steps, kind)
    expected = (
        "the run goes on to 1600 steps and was started with 1500: a schedule of the trainer's was built for 1500 "
        "steps; let Blind.from_config take `steps` to build it for as many as the job has"
    )
    assert message == (expected if said else None)


@pytest.mark.parametrize("line", ["", "[]", "{", '{"event": "run_started", "steps": null}'])
def test_a_log_that_does_not_tell_is_no_matter(tmp_path: Path, line: str) -> None:
    layout = RunLayout(tmp_path)
    layout.events.mkdir()
    layout.rank_events.write_text(f"{line}\n")
    kind: Any = Blind
    assert schedule_too_short(layout, 1600, kind) is None
