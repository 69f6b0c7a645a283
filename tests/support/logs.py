"""Event logs and fault records written by hand, as runs with faults would leave them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from supervisor.events import schema
from supervisor.faults import FaultRecord, FaultScript

__all__ = ["Log", "at", "record", "script"]

START = datetime(2026, 1, 1, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def script(*faults: dict[str, Any]) -> Any:
    """The faults of a script."""
    return FaultScript.model_validate({"faults": list(faults)}).faults


class Log:
    """Events written by hand; the run started at second 0.

    Args:
        clock: the time of day at a second of the run. Given, lives are counted and the monotonic clock is on each line,
            as where there is a parent; without it a log of before is written.
    """

    def __init__(self, clock: Callable[[float], datetime] | None = None) -> None:
        self.events: list[Any] = []
        self._clock = clock
        self._life = 0
        self.add(0, schema.RunStartedEvent)

    def add(self, when: float, model: Any, /, *, rank: int | None = 0, **fields: Any) -> None:
        self._life += model in (schema.RunStartedEvent, schema.RunResumedEvent)
        if self._clock is None:
            stamp: dict[str, Any] = {"time": at(when)}
        else:
            stamp = {"time": self._clock(when), "life": self._life, "monotonic": 500 + when, "boot": "b"}
        self.events.append(model(rank=rank, **stamp, **fields))

    def dies(self, seconds: float, classification: str, **fields: Any) -> None:
        self.add(
            seconds,
            schema.WorkerExitedEvent,
            rank=None,
            pid=7,
            exit_code=None,
            signal="SIGKILL",
            classification=classification,
            **fields,
        )

    def resumes(self, seconds: float, step: int) -> None:
        self.add(seconds, schema.RunResumedEvent, step=step, update=step, checkpoint_step=step)

    def flags(
        self,
        seconds: float,
        step: int,
        signal: str,
        *,
        incident: int | None = None,
        opens: bool = True,
        restored_step: int | None = None,
        cause: str | None = None,
    ) -> None:
        """An update is flagged, and in an incident: opened, diagnosed where there is a cause, decided on, acted on."""
        place: dict[str, Any] = {"step": step, "update": step}
        self.add(seconds, schema.SignalEvent, signal=signal, **place)
        if incident is None:
            return
        place["incident"] = incident
        action = "skip_batch" if restored_step is None else "reload_checkpoint"
        if opens:
            self.add(seconds, schema.IncidentOpenedEvent, **place)
        if cause is not None:
            self.add(seconds, schema.DiagnosisEvent, kind=cause, explanation="x", seconds=0.25, **place)
        self.add(seconds, schema.DecisionEvent, rung=0, action=action, attempt=1, reason="x", **place)
        applied = {"action": action, "seconds": 2.0, "restored_step": restored_step}
        self.add(seconds + 2, schema.ActionAppliedEvent, **applied, **place)

    def closes(self, seconds: float, step: int, incident: int, cured_by: str = "skip_batch") -> None:
        self.add(
            seconds,
            schema.IncidentClosedEvent,
            step=step,
            update=step,
            incident=incident,
            cured_by=cured_by,
            steps_lost=1,
            seconds=1.0,
        )

    def ends(self, seconds: float, steps: int, useful: float) -> None:
        metrics = {"mrr": 0.5}
        self.add(seconds, schema.MetricsEvent, step=steps, update=steps - 1, metrics=metrics, seconds=1.0)
        summary = schema.RunSummary(
            status=schema.RunStatus.FINISHED, steps=steps, applied_steps=steps, seconds=100.0, goodput=useful / 100.0
        )
        self.add(seconds, schema.RunFinishedEvent, status="finished", summary=summary, applied_seconds=useful)


def record(fault: int, kind: str, step: int, seconds: float, target: str | None = None, **stamp: Any) -> FaultRecord:
    """A strike; `stamp` has its `time`, `life` and `monotonic` where these are not those of a log of before."""
    placed = {"time": at(seconds), **stamp}
    return FaultRecord(fault=fault, kind=kind, batch=step, step=step, update=step, target=target, **placed)
