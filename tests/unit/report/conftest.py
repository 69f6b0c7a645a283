"""A run's log, written event by event at the seconds they happen."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from supervisor.events import schema
from supervisor.events.schema import ExitClassification, KnownEvent, RunStatus, RunSummary
from supervisor.events.writer import EventLog
from supervisor.records import ActionName, SignalName
from supervisor.report.status import Status, read_status
from supervisor.run_layout import RunLayout
from supervisor.testing.clock import FakeClock

START = datetime(2026, 1, 1, tzinfo=UTC)
STARTED = schema.RunStartedEvent(steps=100, seed=7, trainer="mine:Trainer")


class Run:
    """Writes a run's events at the seconds they happen."""

    def __init__(self, run_dir: Path) -> None:
        self.run_dir = run_dir
        self.clock = FakeClock(START)
        self.worker = EventLog(RunLayout(run_dir).rank_events, "run-1", 0, self.clock)
        self.parent = EventLog(RunLayout(run_dir).parent_events, "run-1", None, self.clock)

    def at(self, seconds: float, *events: KnownEvent) -> None:
        self.clock.advance(seconds - self.clock.monotonic())
        for event in events:
            log = self.parent if event.event.startswith("worker_") else self.worker
            log.emit(event)
            if isinstance(event, schema.WorkerStartedEvent):
                # A new process writes the log of the rank from here on.
                self.worker = EventLog(self.worker.path, "run-1", 0, self.clock)

    def step(self, seconds: float, step: int, update: int | None = None, loss: float = 1.0) -> None:
        self.at(
            seconds,
            schema.StepEvent(
                step=step,
                update=step if update is None else update,
                loss=loss,
                grad_norm=2.0,
                lr=0.01,
                lr_scale=1.0,
                step_seconds=0.5,
            ),
        )

    def flag(
        self,
        seconds: float,
        step: int,
        update: int,
        *,
        action: ActionName = ActionName.SKIP_BATCH,
        rung: int = 0,
        incident: int = 1,
        opens: bool = False,
        takes: float = 0.0,
        restored_step: int | None = None,
    ) -> None:
        at = {"step": step, "update": update}
        self.at(seconds, schema.SignalEvent(**at, signal=SignalName.NONFINITE_LOSS))
        if opens:
            self.at(seconds, schema.IncidentOpenedEvent(**at, incident=incident))
        self.at(
            seconds,
            schema.DecisionEvent(**at, incident=incident, rung=rung, action=action, attempt=1, reason="because"),
        )
        applied = schema.ActionAppliedEvent(
            **at, incident=incident, action=action, seconds=takes, restored_step=restored_step
        )
        self.at(seconds + takes, applied)

    def close(self, seconds: float, step: int, update: int, *, incident: int = 1) -> None:
        closed = schema.IncidentClosedEvent(
            step=step,
            update=update,
            incident=incident,
            cured_by=ActionName.SKIP_BATCH,
            steps_lost=1,
            seconds=1.0,
        )
        self.at(seconds, closed)

    def status(self) -> Status:
        return read_status(self.run_dir)

    @staticmethod
    def exited(classification: ExitClassification) -> schema.WorkerExitedEvent:
        return schema.WorkerExitedEvent(pid=5, exit_code=None, signal="SIGKILL", classification=classification)

    @staticmethod
    def finished(status: RunStatus = RunStatus.FINISHED, goodput: float | None = None) -> schema.RunFinishedEvent:
        summary = RunSummary(status=status, steps=100, applied_steps=99, lr_scale=0.5, goodput=goodput)
        assert status is not RunStatus.HALTED
        return schema.RunFinishedEvent(status=status, summary=summary)


@pytest.fixture
def unstarted(tmp_path: Path) -> Run:
    return Run(tmp_path)


@pytest.fixture
def run(unstarted: Run) -> Run:
    unstarted.at(0, STARTED)
    return unstarted
