"""What the log can tell of a run's time: how much was kept, and how long recoveries took."""

from __future__ import annotations

from datetime import datetime, timedelta

from supervisor.events import schema
from supervisor.events.schema import Event

__all__ = ["RunTimes"]


class RunTimes:
    """Estimates goodput and MTTR from one rank's events and the parent's, told in order.

    Goodput is the steps that were applied and kept, times the mean `step_seconds` of the `step` events, over
    the wall time from the start to the last event. The wait after a crash counts as wall time; the time
    between an end in good order (finished, interrupted, halted) and a resume does not.

    MTTR is the mean over all recoveries. Inside the process a recovery is a stretch of consecutive flagged
    updates: from its first signal to the end of its last action, plus one mean step, for the healthy one
    that follows. Of a process it lasts from the stall or the exit to the `run_resumed` (or `run_started`),
    plus one mean step. A halt is no recovery.

    Attributes:
        position: steps used up so far: the schedule position that comes next.
    """

    def __init__(self) -> None:
        self._wall = timedelta()
        self._session_from: datetime | None = None
        self._last: datetime | None = None
        self._step_seconds = 0.0
        self._step_events = 0
        self.position = 0
        self._flagged_steps: set[int] = set()
        self._recoveries: list[timedelta] = []
        self._streak = _Streak()
        self._crashed_at: datetime | None = None

    def tell(self, event: Event) -> None:
        """Take in the next event."""
        self._tell_wall(event)
        self._tell_progress(event)
        self._tell_recovery(event)

    @property
    def seconds(self) -> float:
        """Wall time from the start to the last event, without the time between sessions."""
        open_session = timedelta()
        if self._session_from is not None and self._last is not None:
            open_session = self._last - self._session_from
        return (self._wall + open_session).total_seconds()

    @property
    def goodput(self) -> float | None:
        """Useful preserved training time over wall time, 0 to 1; None before the first `step` event."""
        if not self._step_events or self.seconds <= 0:
            return None
        kept = self.position - self.flagged_steps
        return max(0.0, min(1.0, kept * self._mean_step_seconds / self.seconds))

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
        return sum(recoveries, timedelta()).total_seconds() / len(recoveries) + self._mean_step_seconds

    @property
    def _mean_step_seconds(self) -> float:
        return self._step_seconds / self._step_events if self._step_events else 0.0

    def _tell_wall(self, event: Event) -> None:
        if isinstance(event, schema.RunStartedEvent | schema.RunResumedEvent | schema.WorkerStartedEvent):
            self._session_from = self._session_from or event.time
        elif self._last is None:
            self._session_from = event.time
        self._last = event.time
        if isinstance(event, schema.RunFinishedEvent | schema.RunHaltedEvent) and self._session_from is not None:
            self._wall += event.time - self._session_from
            self._session_from = None

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

    def _tell_recovery(self, event: Event) -> None:
        match event:
            case schema.WorkerStalledEvent():
                self._crashed_at = self._crashed_at or event.time
            case schema.WorkerExitedEvent() if event.classification not in schema.ORDERLY_EXITS:
                self._crashed_at = self._crashed_at or event.time
            case schema.RunStartedEvent() | schema.RunResumedEvent():
                if self._crashed_at is not None:
                    self._recoveries.append(event.time - self._crashed_at)
                self._crashed_at = None
                self._recoveries += self._streak.recovery()
                self._streak = _Streak()
            case schema.DecisionEvent(update=int(update)) if not self._streak.goes_on(update):
                self._recoveries += self._streak.recovery(moved_on=True)
                self._streak = _Streak(self._streak.seen_update, self._streak.seen_at)
        self._streak.tell(event)


class _Streak:
    """Consecutive flagged updates, as one recovery."""

    def __init__(self, seen_update: int | None = None, seen_at: datetime | None = None) -> None:
        self.seen_update = seen_update
        self.seen_at = seen_at
        self._from: datetime | None = None
        self._to: datetime | None = None
        self._last_update: int | None = None
        self._healthy = False

    def goes_on(self, update: int) -> bool:
        return self._last_update is None or update <= self._last_update + 1

    def tell(self, event: Event) -> None:
        match event:
            case schema.SignalEvent() | schema.IncidentOpenedEvent():
                if event.update != self.seen_update:
                    self.seen_update, self.seen_at = event.update, event.time
            case schema.DecisionEvent():
                if self._from is None:
                    seen = self.seen_at if event.update == self.seen_update else None
                    self._from = seen or event.time
                self._last_update = event.update
                self._healthy = False
            case schema.ActionAppliedEvent() | schema.ActionFailedEvent():
                self._to = event.time
            case schema.IncidentClosedEvent():
                self._healthy = True
            case schema.StepEvent(update=int(update)) if self._last_update is not None:
                self._healthy = self._healthy or update > self._last_update

    def recovery(self, *, moved_on: bool = False) -> list[timedelta]:
        """How long it took, if it is over: a list of one or none."""
        over = self._healthy or moved_on
        return [self._to - self._from] if over and self._from is not None and self._to is not None else []
