"""How far a run has got, and how long its recoveries took, as its log tells."""

from __future__ import annotations

from supervisor.events import schema
from supervisor.events.schema import Event

__all__ = ["RunTimes"]


class RunTimes:
    """How far a run has got, and its MTTR, from the events that count, told in order.

    MTTR is the mean over all recoveries. Inside the process a recovery is a stretch of consecutive flagged
    updates: from its first signal to the end of its last action, plus one mean step, for the healthy one
    that follows. Of a process it lasts from the stall or the exit to the `run_resumed` (or `run_started`),
    plus one mean step. A halt is no recovery.

    Attributes:
        position: steps used up so far: the schedule position that comes next.
    """

    def __init__(self) -> None:
        self._step_seconds = 0.0
        self._step_events = 0
        self.position = 0
        self._flagged_steps: set[int] = set()
        self._recoveries: list[float] = []
        self._streak = _Streak()
        self._crashed_at: float | None = None

    def tell(self, event: Event, now: float) -> None:
        """Take in the next event, which happened `now` seconds after the first of the run."""
        self._tell_progress(event)
        self._tell_recovery(event, now)

    @property
    def flagged_steps(self) -> int:
        """Of the steps used up, those whose update was flagged."""
        return sum(step < self.position for step in self._flagged_steps)

    @property
    def mttr_seconds(self) -> float | None:
        """Mean time from detection to the next healthy applied step; None before the first recovery."""
        recoveries = [*self._recoveries, *self._streak.recovery()]
        if not recoveries:
            return None
        return sum(recoveries) / len(recoveries) + self._mean_step_seconds

    @property
    def _mean_step_seconds(self) -> float:
        return self._step_seconds / self._step_events if self._step_events else 0.0

    def _tell_progress(self, event: Event) -> None:
        match event:
            case schema.StepEvent(step=int(step)):
                self.position = step + 1
                self._step_seconds += event.step_seconds
                self._step_events += 1
            case schema.DecisionEvent(step=int(step)):
                self.position = step + 1
                self._flagged_steps.add(step)
            case schema.ActionAppliedEvent(restored_step=int(step)):
                self._go_back(step)
            case schema.RunResumedEvent():
                self._go_back(event.checkpoint_step)
            case schema.IncidentClosedEvent(step=int(step)):
                self.position = max(self.position, step + 1)
            case schema.RunFinishedEvent(summary=schema.RunSummary() as summary):
                self.position = summary.steps
            case schema.RunHaltedEvent(summary=schema.RunSummary() as summary):
                self.position = summary.steps

    def _go_back(self, step: int) -> None:
        self.position = step
        self._flagged_steps = {flagged for flagged in self._flagged_steps if flagged < step}

    def _tell_recovery(self, event: Event, now: float) -> None:
        match event:
            case schema.WorkerStalledEvent():
                self._crashed_at = now if self._crashed_at is None else self._crashed_at
            case schema.WorkerExitedEvent() if event.classification not in schema.ORDERLY_EXITS:
                self._crashed_at = now if self._crashed_at is None else self._crashed_at
            case schema.RunStartedEvent() | schema.RunResumedEvent():
                if self._crashed_at is not None:
                    self._recoveries.append(now - self._crashed_at)
                self._crashed_at = None
                self._recoveries += self._streak.recovery()
                self._streak = _Streak()
            case schema.DecisionEvent(update=int(update)) if not self._streak.goes_on(update):
                self._recoveries += self._streak.recovery(moved_on=True)
                self._streak = _Streak(self._streak.seen_update, self._streak.seen_at)
        self._streak.tell(event, now)


class _Streak:
    """Consecutive flagged updates, as one recovery."""

    def __init__(self, seen_update: int | None = None, seen_at: float | None = None) -> None:
        self.seen_update = seen_update
        self.seen_at = seen_at
        self._from: float | None = None
        self._to: float | None = None
        self._last_update: int | None = None
        self._healthy = False

    def goes_on(self, update: int) -> bool:
        return self._last_update is None or update <= self._last_update + 1

    def tell(self, event: Event, now: float) -> None:
        match event:
            case schema.SignalEvent() | schema.IncidentOpenedEvent():
                if event.update != self.seen_update:
                    self.seen_update, self.seen_at = event.update, now
            case schema.DecisionEvent():
                if self._from is None:
                    seen = self.seen_at if event.update == self.seen_update else None
                    self._from = now if seen is None else seen
                self._last_update = event.update
                self._healthy = False
            case schema.ActionAppliedEvent() | schema.ActionFailedEvent():
                self._to = now
            case schema.IncidentClosedEvent():
                self._healthy = True
            case schema.StepEvent(update=int(update)) if self._last_update is not None:
                self._healthy = self._healthy or update > self._last_update

    def recovery(self, *, moved_on: bool = False) -> list[float]:
        """How long it took, if it is over: a list of one or none."""
        over = self._healthy or moved_on
        return [self._to - self._from] if over and self._from is not None and self._to is not None else []
