"""A run directory that is written event by event, at the seconds at which they happen."""

from __future__ import annotations

from pathlib import Path

import pytest

from supervisor.events import schema
from supervisor.events.schema import ExitClassification, KnownEvent, RunStatus, RunSummary
from supervisor.events.writer import EventLog
from supervisor.records import ActionName, SignalName
from supervisor.run_layout import RunLayout
from supervisor.testing.clock import FakeClock


class WrittenRun:
    """A run of 100 steps, written by hand.

    Args:
        root: its directory.
    """

    def __init__(self, root: Path) -> None:
        self.layout = RunLayout(root)
        self.clock = FakeClock()
        self.parent = EventLog(self.layout.parent_events, "r", None, self.clock)
        self.worker = EventLog(self.layout.rank_events, "r", 0, self.clock)

    def at(self, seconds: float, *events: KnownEvent) -> None:
        """Write these at a second of the run."""
        self.clock.advance(seconds - self.clock.monotonic())
        for event in events:
            (self.parent if event.event.startswith("worker_") else self.worker).emit(event)
            if isinstance(event, schema.WorkerStartedEvent):
                self.worker = EventLog(self.layout.rank_events, "r", 0, self.clock)

    def begin(self) -> None:
        """A worker starts the run."""
        self.at(0, schema.WorkerStartedEvent(pid=7, steps=100))
        self.at(1, schema.RunStartedEvent(steps=100, trainer="mine:Tiny", device="cpu"))

    def step(self, seconds: float, step: int, loss: float = 1.0, update: int | None = None) -> None:
        """A logged step."""
        update = step if update is None else update
        rates = {"lr": 0.01, "lr_scale": 0.5, "step_seconds": 0.5}
        self.at(seconds, schema.StepEvent(step=step, update=update, loss=loss, grad_norm=2.0, **rates))

    def flag(self, seconds: float, step: int, incident: int, *, restored_step: int | None = None) -> None:
        """An incident opens and is answered."""
        at = {"step": step, "update": step}
        action = ActionName.SKIP_BATCH if restored_step is None else ActionName.RELOAD_CHECKPOINT
        rung = 0 if restored_step is None else 2
        told = {"incident": incident, "action": action}
        self.at(
            seconds,
            schema.SignalEvent(**at, signal=SignalName.NONFINITE_LOSS),
            schema.IncidentOpenedEvent(**at, incident=incident),
            schema.DecisionEvent(**at, **told, rung=rung, attempt=1, reason="because"),
            schema.ActionAppliedEvent(**at, **told, seconds=0.1, restored_step=restored_step),
        )

    def close(self, seconds: float, step: int, incident: int) -> None:
        """An incident is over."""
        cured = {"cured_by": ActionName.SKIP_BATCH, "steps_lost": 1, "seconds": 1.0}
        self.at(seconds, schema.IncidentClosedEvent(step=step, update=step, incident=incident, **cured))

    def die(self, seconds: float, pause: float = 4.0) -> None:
        """The worker is killed, and the parent waits."""
        killed = ExitClassification.KILLED
        self.at(seconds, schema.WorkerExitedEvent(pid=7, exit_code=None, signal="SIGKILL", classification=killed))
        self.at(seconds, schema.WorkerRestartingEvent(seconds=pause))

    def resume(self, seconds: float, step: int) -> None:
        """Another worker goes on."""
        self.at(seconds, schema.WorkerStartedEvent(pid=8, restarts=1, steps=100))
        self.at(seconds + 1, schema.RunResumedEvent(step=step, update=step, checkpoint_step=step))

    def finish(self, seconds: float) -> None:
        """The run ends."""
        summary = RunSummary(status=RunStatus.FINISHED, steps=100, applied_steps=99, incidents=1, final_loss=0.25)
        self.at(seconds, schema.RunFinishedEvent(step=100, update=99, status=RunStatus.FINISHED, summary=summary))


@pytest.fixture
def written(tmp_path: Path) -> WrittenRun:
    return WrittenRun(tmp_path / "run")
