"""The goodput that is shown with each step is that of `status`: one account, start-up and lost time in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.training import build, healthy_batches

from supervisor import Guard
from supervisor.events import read_events
from supervisor.events.schema import StepEvent, WorkerStartedEvent
from supervisor.events.writer import EventLog
from supervisor.record.counters import Progress
from supervisor.report.account import Accounting
from supervisor.run_layout import RunLayout
from supervisor.testing.clock import FakeClock


def test_each_step_shows_what_the_account_of_its_line_says(tmp_path: Path) -> None:
    clock, training = FakeClock(), build()
    EventLog(RunLayout(tmp_path).parent_events, "r", None, clock).emit(WorkerStartedEvent(pid=1, steps=60))
    # The start-up takes longer than all steps.
    clock.advance(30)
    shown: list[Progress] = []

    def loss(batch: Any) -> Any:
        clock.advance(0.5)
        value = training.loss(batch)
        return value * float("nan") if guard.updates_attempted - 1 in (20, 41) else value

    guard = Guard(
        model=training.model,
        optimizer=training.optimizer,
        loss=loss,
        data=healthy_batches(80),
        policy={"experiments": None, "ladder": [{"action": "reload_checkpoint", "attempts": 9}, {"action": "halt"}]},
        run_dir=tmp_path,
        log_every_steps=1,
        on_progress=shown.append,
        clock=clock,
    )
    guard.run(60)
    guard.close()
    accounting, by_step = Accounting(), {}
    for event in read_events(tmp_path, with_void=True):
        accounting.tell(event)
        if isinstance(event, StepEvent):
            by_step.setdefault(event.step, []).append(accounting.account.goodput)
    told: dict[int, list[float | None]] = {}
    for progress in shown:
        if progress.loss == progress.loss:
            told.setdefault(progress.step, []).append(progress.goodput)
    assert by_step.keys() == told.keys()
    assert any(len(each) > 1 for each in told.values()), "a reload went back over no step"
    assert told[0][0] == pytest.approx(0.5 / 30.5)
    for step, goodput in by_step.items():
        assert told[step] == [None if each is None else pytest.approx(each, abs=1e-9) for each in goodput], step
