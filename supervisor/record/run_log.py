"""What a run says of itself: its start, its steps, its metrics, its end."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from supervisor.errors import said_by, traceback_of
from supervisor.events.headroom_event import HeadroomEvent
from supervisor.events.observation_file import ObservationFile
from supervisor.events.schema import (
    BufferExemptEvent,
    MetricsEvent,
    RunFinishedEvent,
    RunHaltedEvent,
    RunStartedEvent,
    RunStatus,
    RunSummary,
    StepEvent,
    WarningEvent,
)
from supervisor.events.time_account import TimeAccount
from supervisor.events.writer import EventLog
from supervisor.headroom import Forecast
from supervisor.record.counters import Progress
from supervisor.record.metrics import metrics_in
from supervisor.record.run_ledger import RunLedger
from supervisor.records import Observation
from supervisor.signals.silence import SilenceWatch
from supervisor.training.learning_rate import highest_lr, nominal_lr
from supervisor.training.optimizers import AnyOptimizer
from supervisor.training.user_code import from_users_frame
from supervisor.version import __version__

__all__ = ["Evaluation", "ProgressListener", "RunLog", "Standing"]

SLOW_STEP_SECONDS = 1.0
SLOW_STEP_TIMES = 10.0
"""A step is slow when it takes longer than both: that many seconds, and that many times the mean step."""

LONGEST_TRACEBACK = 20_000
"""How much of a traceback goes on record, in characters from its end."""

Evaluation = Callable[[], object]
"""Gives metrics by name: a mapping to numbers, or whatever a user's function returns instead."""

ProgressListener = Callable[[Progress], object]


class Goodput(Protocol):
    """Gives the goodput at a moment, by the account of the run's log."""

    def __call__(self, now: float, applied_seconds: float, *, anew: bool) -> float | None:
        """As `report.account.LiveAccount.goodput`."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What is in force for the rest of a run, and what its log says of its time.

    Attributes:
        cures: names of the cures of the set-up.
        left_out: the samples of the data set that are left out.
        account: where the wall time went, over all lives; None without a log that can be read.
    """

    cures: tuple[str, ...] = ()
    left_out: tuple[int | str, ...] = ()
    account: TimeAccount | None = None


@dataclass(slots=True)
class RunLog:
    """Emits the events that are about the run rather than about an incident.

    Attributes:
        log: where they go.
        ledger: where the run stands.
        log_every_steps: steps between two `step` events.
        on_progress: called after each step.
        observations: where every update's measurement goes, None to keep none.
        silence: notices a training that goes on without learning.
        standing: gives what is in force now, beside the ledger.
        goodput: that of the run so far, over all lives; None without a log: then this process is all that is known.
        metrics: what the last evaluation gave.
        applied_seconds: wall time of the updates that this process has applied.
        states_seconds: wall time for which it has waited for snapshots and checkpoints.
        lost: what is lost of a run whose last state could not be written.
    """

    log: EventLog
    ledger: RunLedger
    log_every_steps: int
    on_progress: ProgressListener | None
    observations: ObservationFile | None
    silence: SilenceWatch = field(default_factory=SilenceWatch)
    standing: Callable[[], Standing] = Standing
    goodput: Goodput | None = field(default=None, init=False)
    metrics: dict[str, float] = field(default_factory=dict, init=False)
    applied_seconds: float = field(default=0.0, init=False)
    states_seconds: float = field(default=0.0, init=False)
    lost: str | None = field(default=None, init=False)
    _said: set[str] = field(default_factory=set, init=False)
    # Whether the log holds what has not been accounted for: its beginning, or what came of a discarded update.
    _unread: bool = field(default=True, init=False)

    def started(self, steps: int | None, about: Mapping[str, Any], exempt_buffers: tuple[str, ...]) -> None:
        """Put the start of the run on record."""
        self.log.emit(RunStartedEvent(steps=steps, version=__version__, **about))
        if exempt_buffers:
            self.log.emit(BufferExemptEvent(buffers=exempt_buffers))

    def observed(self, observation: Observation) -> None:
        """Keep what an update measured, where that is asked for."""
        if self.observations is not None:
            self.observations.write(observation)

    def forecast(self, forecasts: Sequence[Forecast], observation: Observation) -> None:
        """Put what is forecast after an update on record."""
        for each in forecasts:
            self.log.emit(HeadroomEvent.from_forecast(each, step=observation.step, update=observation.update))

    def step(self, observation: Observation, optimizer: AnyOptimizer, seconds: float | None) -> None:
        """Show a step; one in `log_every_steps` goes on record, with `seconds` None where it was discarded."""
        if self.on_progress is not None:
            engine = self.ledger.engine
            self.on_progress(
                Progress(
                    step=observation.step,
                    loss=observation.loss,
                    grad_norm=observation.grad_norm,
                    lr_scale=engine.lr_scale,
                    rung=engine.rung,
                    incidents=engine.incidents,
                    lr=observation.lr,
                    goodput=self._goodput(seconds),
                )
            )
        if seconds is None:
            self._unread = True
            return
        self.applied_seconds += seconds
        if seconds > SLOW_STEP_SECONDS:
            self._say_where_slow(observation, seconds)
        if self.silence.accept(observation.step, observation.loss, observation.lr):
            self._say_where_silent(observation, optimizer)
        if (observation.step + 1) % self.log_every_steps:
            return
        engine = self.ledger.engine
        event = StepEvent(
            step=observation.step,
            update=observation.update,
            loss=observation.loss,
            grad_norm=observation.grad_norm,
            lr=nominal_lr(optimizer),
            lr_scale=engine.lr_scale,
            step_seconds=seconds,
            rung=engine.rung,
            incidents=engine.incidents,
            applied_seconds=self.applied_seconds,
            states_seconds=self.states_seconds,
        )
        self.log.emit(event)

    def _say_where_silent(self, observation: Observation, optimizer: AnyOptimizer) -> None:
        step, rate = observation.step, highest_lr(optimizer)
        for message in self.silence.findings(step, observation.grad_norm, rate):
            self.log.warn(message, step, observation.update)

    def _say_where_slow(self, observation: Observation, seconds: float) -> None:
        before = self.ledger.counters.applied_steps - 1
        mean = (self.ledger.counters.useful_seconds - seconds) / before if before else seconds
        if seconds > SLOW_STEP_TIMES * mean:
            message = f"slow step: {seconds:.3g} s, where the mean is {mean:.3g} s"
            self.log.warn(message, observation.step, observation.update, spoken=False)

    def evaluate(self, evaluation: Evaluation) -> dict[str, float] | None:
        """Take metrics and put them on record; what goes wrong is a warning, for the training is sound.

        Args:
            evaluation: the user's. It may return and raise anything; it may also try to exit.

        Returns:
            The metrics; None where it failed, or gave none that can be recorded.
        """
        before = self.ledger.seconds
        try:
            metrics, left_out = metrics_in(evaluation())
        except (Exception, SystemExit) as error:  # noqa: BLE001  (whatever the user's evaluation raises)
            self._say_of_evaluation(f"evaluation failed: {said_by(error)}", traceback_of(from_users_frame(error)))
            return None
        for line in left_out:
            if line not in self._said:
                self._said.add(line)
                self._say_of_evaluation(f"evaluation: {line}")
        if not metrics:
            return None
        self.metrics = metrics
        counters, seconds = self.ledger.counters, self.ledger.seconds - before
        event = MetricsEvent(step=counters.step, update=self.ledger.last_update, metrics=metrics, seconds=seconds)
        self.log.emit(event)
        return metrics

    def _say_of_evaluation(self, message: str, traceback: str | None = None) -> None:
        shown = None
        if traceback is not None and traceback not in self._said:
            # Once: an evaluation that fails each time fails alike.
            self._said.add(traceback)
            shown = traceback[-LONGEST_TRACEBACK:]
        step, update = self.ledger.counters.step, self.ledger.last_update
        self.log.emit(WarningEvent(step=step, update=update, message=message, traceback=shown))

    def finished(self, status: RunStatus, lost: str | None = None) -> None:
        """Put the end of a run that was not halted on record, with what is lost of one that could not be saved."""
        counters, self.lost = self.ledger.counters, lost
        event = RunFinishedEvent(
            step=counters.step,
            update=self.ledger.last_update,
            status=RunStatus.FINISHED if status is RunStatus.HALTED else status,
            summary=self.summary(status),
            applied_seconds=self.applied_seconds,
            states_seconds=self.states_seconds,
        )
        self.log.emit(event)

    def halted(self, reason: str, observation: Observation) -> None:
        """Put the end of a halted run on record; `reason` is why its last action was chosen."""
        event = RunHaltedEvent(
            step=observation.step,
            update=observation.update,
            reason=self.ledger.halt_reason or reason,
            summary=self.summary(RunStatus.HALTED),
            applied_seconds=self.applied_seconds,
            states_seconds=self.states_seconds,
        )
        self.log.emit(event)

    def summary(self, status: RunStatus) -> RunSummary:
        """What the run came to so far."""
        counters, engine, seconds = self.ledger.counters, self.ledger.engine, self.ledger.seconds
        standing = self.standing()
        account = standing.account
        return RunSummary(
            status=status,
            steps=counters.step,
            applied_steps=counters.applied_steps,
            skipped_steps=counters.skipped_steps,
            bad_batches=engine.bad.total,
            quarantined=standing.left_out,
            incidents=engine.incidents,
            warnings=self.log.warnings,
            incidents_by_signal=dict(self.ledger.by_signal),
            cured_by=dict(self.ledger.cured_by),
            lr_scale=engine.lr_scale,
            final_loss=counters.final_loss,
            metrics=self.metrics,
            # Without a log this process is all that is known.
            seconds=seconds if account is None else account.seconds,
            cures=standing.cures,
            goodput=self._goodput_here(seconds) if account is None else account.goodput,
            account=account,
            reason=self.ledger.halt_reason if status is RunStatus.HALTED else self.lost,
            in_place=status is RunStatus.HALTED and self.ledger.halted_in_place,
        )

    def _goodput(self, seconds: float | None) -> float | None:
        """The goodput at the end of an update that took so long; None where it was discarded."""
        if self.goodput is None:
            return self._goodput_here(self.ledger.seconds)
        anew, self._unread = self._unread and seconds is not None, self._unread and seconds is None
        return self.goodput(self.ledger.now(), self.applied_seconds + (seconds or 0.0), anew=anew)

    def _goodput_here(self, seconds: float) -> float | None:
        return min(1.0, self.ledger.counters.useful_seconds / seconds) if seconds > 0 else None
