"""A run directory with an event log that was written by the writer itself, event by event, as a test goes on."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from supervisor.events import schema
from supervisor.events.writer import EventLog
from supervisor.run_layout import RunLayout
from supervisor.sinks.base import AboutRun, Sink
from supervisor.sinks.place import Kept
from supervisor.sinks.tail import Tail
from supervisor.testing.clock import FakeClock

__all__ = ["HOSTILE", "WrittenRun", "feed"]

HOSTILE = '<b>"x"</b>\n\x1b[31m</script> \u202e & \'; = 🦊 é ' + "long " * 300
"""What a name or a text may hold: markup, quotes, control characters, line breaks, emoji, and very much of it."""


class WrittenRun:
    """Writes events as a worker and its parent do.

    Args:
        run_dir: the run directory.

    Attributes:
        clock: goes on by a tenth of a second with each event.
    """

    def __init__(self, run_dir: Path) -> None:
        self.layout = RunLayout(run_dir)
        self.clock = FakeClock(tick_seconds=0.1)
        self.parent = EventLog(self.layout.parent_events, "abc123", None, self.clock)

    @property
    def about(self) -> AboutRun:
        """The run, as sinks are told of it."""
        since = datetime(2026, 1, 1, tzinfo=UTC)
        return AboutRun(run_id="abc123", name=self.layout.root.name, run_dir=self.layout.root, since=since)

    def start(self, steps: int = 100) -> None:
        """A worker starts, and its run begins."""
        self.parent.emit(schema.WorkerStartedEvent(pid=7, steps=steps))
        # Opened after that, so that its lines belong to the life of that worker.
        self.log = EventLog(self.layout.rank_events, "abc123", 0, self.clock)
        self.log.emit(schema.RunStartedEvent(steps=steps, trainer="mine:Tiny", device="cpu", seed=3))

    def steps(self, *steps: int, loss: float = 0.5) -> None:
        """Healthy steps, each as the update of its number."""
        for step in steps:
            self.log.emit(
                schema.StepEvent(
                    step=step, update=step, loss=loss, grad_norm=2.0, lr=0.1, lr_scale=1.0, step_seconds=0.02
                )
            )

    def incident(self, number: int, step: int, *, reason: str = "bad data", closes_at: int | None = None) -> None:
        """An incident that a skipped batch answers; it closes where that is asked for."""
        at: dict[str, Any] = {"step": step, "update": step, "incident": number}
        place: dict[str, Any] = {"step": step, "update": step}
        signal = {"signal": "nonfinite_loss", "loss": "nan", **place}
        self.log.emit(schema.SignalEvent.model_validate(signal))
        self.log.emit(schema.ExperimentEvent(kind="canaries", batches=4, verdict="unharmed", seconds=0.1, **place))
        self.log.emit(schema.IncidentOpenedEvent.model_validate({"signals": ["nonfinite_loss"], **at}))
        self.log.emit(schema.DiagnosisEvent.model_validate({"kind": "bad_input", "explanation": reason, **at}))
        decision = {"rung": 0, "action": "skip_batch", "attempt": 1, "reason": reason, **at}
        self.log.emit(schema.DecisionEvent.model_validate(decision))
        self.log.emit(schema.ActionAppliedEvent.model_validate({"action": "skip_batch", "seconds": 0.01, **at}))
        if closes_at is not None:
            self.close_incident(number, closes_at)

    def close_incident(self, number: int, step: int) -> None:
        """The incident is over."""
        closed = {"incident": number, "cured_by": "skip_batch", "steps_lost": 1, "seconds": 3.5}
        self.log.emit(schema.IncidentClosedEvent.model_validate({"step": step, "update": step, **closed}))

    def evaluate(self, step: int, **metrics: float) -> None:
        """An evaluation after so many steps."""
        self.log.emit(schema.MetricsEvent(step=step, update=step - 1, metrics=metrics, seconds=0.1))

    def resume(self, update: int) -> None:
        """The worker dies, and another one goes on from the checkpoint of that many steps."""
        gone = {"pid": 7, "exit_code": None, "signal": "SIGKILL", "classification": "killed"}
        self.parent.emit(schema.WorkerExitedEvent.model_validate(gone))
        self.parent.emit(schema.WorkerStartedEvent(pid=8, restarts=1))
        self.log.close()
        self.log = EventLog(self.layout.rank_events, "abc123", 0, self.clock)
        self.log.emit(schema.RunResumedEvent(step=update, update=update, checkpoint_step=update))

    def finish(self, steps: int, status: str = "finished") -> None:
        """The run ends."""
        summary = schema.RunSummary.model_validate({"status": status, "steps": steps, "applied_steps": steps})
        finished = {"status": status, "step": steps - 1, "update": steps - 1, "summary": summary}
        self.log.emit(schema.RunFinishedEvent.model_validate(finished))


def feed(sink: Sink, run: WrittenRun, kept: Kept | None = None, *, close: bool = True) -> Kept:
    """Tell a sink what it was not told yet, as a process of its own would: opened, flushed, closed.

    Args:
        sink: the sink.
        run: the run.
        kept: what the process before has kept.
        close: whether the process ends; else the sink is to be told more by `feed_on`.

    Returns:
        What is kept for the next one.
    """
    kept = kept or Kept()
    sink.open(kept.memory)
    tail = Tail(run.layout, kept.places, again=sink.recalls)
    kept = feed_on(sink, tail)
    if close:
        sink.close()
    return kept


def feed_on(sink: Sink, tail: Tail) -> Kept:
    """Tell a sink that is open what is new, and flush it."""
    for event, void, again in tail.read():
        (sink.recall if again else sink.tell)(event, void=void)
    return Kept(tail.places, sink.flush())
