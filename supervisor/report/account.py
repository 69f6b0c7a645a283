"""The one account of a run's wall time, over all lives of its worker, from its event log alone."""

from __future__ import annotations

import contextlib
import enum
from collections.abc import Iterable
from pathlib import Path

from supervisor.errors import InputError
from supervisor.events import schema
from supervisor.events.reader import merged
from supervisor.events.schema import Event
from supervisor.events.sparse_file import SparseFile
from supervisor.events.time_account import TimeAccount
from supervisor.records import SignalName
from supervisor.report.kept_work import KeptWork
from supervisor.report.timeline import Timeline
from supervisor.run_layout import RunLayout

__all__ = ["Accounting", "LiveAccount", "account_of"]

_ORDERLY = schema.ORDERLY_EXITS | {schema.ExitClassification.BAD_INPUT}
_SaysItsTime = schema.StepEvent | schema.RunFinishedEvent | schema.RunHaltedEvent


class _At(enum.Enum):
    """What a run is at, between two events."""

    ENDED = enum.auto()
    STARTING = enum.auto()
    TRAINING = enum.auto()
    ANSWERING = enum.auto()
    DOWN = enum.auto()


def account_of(events: Iterable[Event]) -> TimeAccount:
    """The account of a run.

    Args:
        events: all of them in order, those that a resume made void included: their time has passed.
    """
    accounting = Accounting()
    for event in events:
        accounting.tell(event)
    return accounting.account


class LiveAccount:
    """The account of a run that is being written, read on from where the last reading stopped.

    Args:
        run_dir: the run directory.
    """

    def __init__(self, run_dir: Path) -> None:
        self._layout = RunLayout(run_dir)
        self._files: dict[Path, SparseFile] = {}
        self._accounting = Accounting()
        # Where it stood when it was read: training, wall time, the updates in it, and the monotonic clock.
        self._then: tuple[float, float, float, float] | None = None

    def read(self) -> TimeAccount | None:
        """The account so far; None where the log cannot be read."""
        with contextlib.suppress(OSError, InputError):
            for path in self._layout.event_files():
                self._files.setdefault(path, SparseFile(path))
            for event, _ in merged(self._files.values()):
                self._accounting.tell(event)
            return self._accounting.account
        return None

    def goodput(self, now: float, applied_seconds: float, *, anew: bool) -> float | None:
        """The goodput at this moment, as the account will have it; None before anything was trained.

        It costs nothing beside a step, unless the log is read.

        Args:
            now: the monotonic clock, in seconds.
            applied_seconds: what the updates of this process have taken so far.
            anew: read on in the log first: something else than applied updates has happened since.
        """
        if anew and (account := self.read()) is not None:
            clock, applied = self._accounting.timeline.monotonic, self._accounting.applied_seconds
            self._then = None if clock is None else (account.training, account.seconds, applied, clock)
        if self._then is None:
            return None
        training, seconds, applied, clock = self._then
        useful = training + max(0.0, applied_seconds - applied)
        return min(1.0, useful / (seconds + now - clock)) if useful > 0 else None


class Accounting:
    """Gives each second between two events to one part of the account, and moves it where a later event says more.

    How long updates and states took the worker says itself, in `step` events and at its end. What is lost with a
    reload or a resume is the share of the steps that were gone back over.
    """

    def __init__(self) -> None:
        self.timeline = Timeline()
        self._at = _At.ENDED
        self._parts = TimeAccount()
        self._spent = dict.fromkeys(("start_up", "recovery", "checkpoints", "down", "other", "paused"), 0.0)
        self._work = KeptWork()
        # Since the first signal of an update that may turn out to be merely observed.
        self._looking = 0.0
        self._answered: int | None = None
        self._states_seconds = 0.0

    @property
    def account(self) -> TimeAccount:
        """The account so far."""
        looking = {"other": self._spent["other"] + self._work.pending + self._work.rest + self._looking}
        return TimeAccount(**{**self._spent, **looking}, training=self._work.kept, wasted=self._work.wasted)

    @property
    def applied_seconds(self) -> float:
        """Of what the process at work says that its updates have taken, how much is in the account."""
        return self._work.applied_seconds

    def tell(self, event: Event) -> None:
        """Take in the next event."""
        self._spend(event, self.timeline.tell(event))
        if event.rank in (None, 0):
            self._move_on(event)

    def _spend(self, event: Event, seconds: float) -> None:
        """Give the time before an event to what the run was at."""
        match self._at:
            case _At.ENDED:
                begins = isinstance(event, schema.WorkerStartedEvent | schema.RunStartedEvent | schema.RunResumedEvent)
                begins = begins or isinstance(event, schema.CheckpointRejectedEvent)
                self._spent["paused" if begins else "other"] += seconds
            case _At.STARTING:
                self._spent["start_up"] += seconds
            case _At.DOWN:
                self._spent["down"] += seconds
            case _At.ANSWERING:
                self._looking += seconds
            case _At.TRAINING:
                self._spend_training(event, seconds)

    def _spend_training(self, event: Event, seconds: float) -> None:
        match event:
            case schema.WorkerStartedEvent() | schema.RunStartedEvent() | schema.RunResumedEvent():
                # Another process: nobody was left to say when the one before ended.
                self._spent["down"] += seconds
                return
            case schema.WorkerStalledEvent():
                beside, part = event.seconds, "down"
            case schema.MetricsEvent():
                beside, part = event.seconds, "other"
            case schema.ExperimentEvent():
                beside, part = event.seconds, "recovery"
            case _:
                beside, part = 0.0, "other"
        beside = min(max(beside, 0.0), seconds) if beside == beside else 0.0
        self._spent[part] += beside
        self._work.pending += seconds - beside

    def _move_on(self, event: Event) -> None:
        match event:
            case schema.WorkerStartedEvent():
                self._stop()
                self._at = _At.STARTING
            case schema.RunStartedEvent() | schema.RunResumedEvent():
                self._stop()
                self._begin(event)
            case schema.WorkerStalledEvent():
                self._stop()
                self._at = _At.DOWN
            case schema.WorkerExitedEvent():
                if self._at is not _At.ENDED:
                    self._stop()
                    self._at = _At.ENDED if event.classification in _ORDERLY else _At.DOWN
            case schema.RunFinishedEvent() | schema.RunHaltedEvent():
                self._note(event.summary.steps if event.summary is not None else None, event)
                self._stop()
                self._at = _At.ENDED
            case _ if self._at in (_At.TRAINING, _At.ANSWERING):
                self._tell_update(event)

    def _begin(self, event: schema.RunStartedEvent | schema.RunResumedEvent) -> None:
        kept = event.checkpoint_step if isinstance(event, schema.RunResumedEvent) else 0
        self._work.back_to(kept)
        self._work.begin_life()
        self._states_seconds = 0.0
        self._answered = None
        self._at = _At.TRAINING

    def _stop(self) -> None:
        """The process does nothing more: what it was at is settled."""
        self._spent["recovery"] += self._looking
        self._looking = 0.0
        self._work.settle_tail()

    def _tell_update(self, event: Event) -> None:
        if self._at is _At.ANSWERING and (event.update or 0) > (self._answered or 0):
            # What was found was merely observed.
            self._work.pending += self._looking
            self._looking, self._at = 0.0, _At.TRAINING
        match event:
            case schema.StepEvent(step=int(step)):
                self._note(step + 1, event)
            case schema.CheckpointSavedEvent():
                self._work.settle(event.checkpoint_step)
            case schema.SignalEvent(update=int(update)) if event.signal is not SignalName.ODD_UPDATE:
                self._answer(update)
            case schema.DecisionEvent(step=int(step), update=int(update)):
                self._answer(update)
                self._flag(step, 0 if event.evidence is None else event.evidence.gone_back_over)
            case schema.ActionAppliedEvent(step=int(step)):
                self._spent["recovery"] += self._looking
                self._looking, self._at = 0.0, _At.TRAINING
                if event.restored_step is not None:
                    self._work.settle(step + 1)
                    self._work.back_to(event.restored_step)

    def _answer(self, update: int) -> None:
        if self._at is _At.TRAINING:
            self._at, self._answered = _At.ANSWERING, update

    def _flag(self, step: int, undone: int) -> None:
        if undone:
            self._work.settle(step)
            self._work.lose(step - undone, step)
        self._work.flagged(step)

    def _note(
        self, steps: int | None, event: schema.StepEvent | schema.RunFinishedEvent | schema.RunHaltedEvent
    ) -> None:
        """The process says how it has spent its time so far."""
        if isinstance(event, schema.StepEvent) and event.applied_seconds is None:
            self._work.mean_seconds = event.step_seconds
        if steps is not None:
            self._work.settle(steps, event.applied_seconds)
        if event.states_seconds is not None:
            self._spent["checkpoints"] += self._work.take_rest(event.states_seconds - self._states_seconds)
            self._states_seconds = event.states_seconds
