"""One supervised step: run the update, judge it, then let it stand or discard it and recover."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from supervisor.clock import Clock
from supervisor.engine import Closed, advance
from supervisor.errors import PolicyHalt
from supervisor.events.schema import LrRestoredEvent
from supervisor.events.writer import EventLog
from supervisor.guard.diagnosing import Diagnostician
from supervisor.guard.good_states import GoodStates
from supervisor.guard.incidents import IncidentBook
from supervisor.guard.keeper import StateKeeper
from supervisor.guard.micro_batches import TELLING, MicroBatchJudge, Verdict
from supervisor.guard.outcome import StepOutcome
from supervisor.guard.recovery import Recovery
from supervisor.guard.reporter import Reporter
from supervisor.guard.update import Update, UpdateRunner
from supervisor.policy import RecoveryPolicy
from supervisor.records import ActionName, Observation, Signal
from supervisor.signals import Detectors
from supervisor.training.data_cursor import DataCursor
from supervisor.training.schedule import Schedule
from supervisor.training.state import Subject, VolatileState

__all__ = ["SupervisedStep"]


class SupervisedStep:
    """Binds the parts of the guard into one step.

    Args:
        policy: what to check, and how often.
        subject: the training objects.
        cursor: the position in the data, None where the caller draws the batches.
        schedule: the learning-rate schedule.
        runner: runs the update.
        panel: the detectors.
        states: the states to go back to.
        keeper: where the run stands.
        recovery: carries out the ladder.
        book: the incident record.
        reporter: the run's own record.
        diagnostician: looks into flagged updates.
        log: for what fits neither.
        clock: for durations.

    Attributes:
        end: where the schedule ends, None while that is not known; the last step's state is always checked.
        drawn: the batches that the cursor drew for the next update; empty where it drew none.
    """

    def __init__(
        self,
        policy: RecoveryPolicy,
        subject: Subject,
        cursor: DataCursor | None,
        schedule: Schedule,
        runner: UpdateRunner,
        panel: Detectors,
        states: GoodStates,
        keeper: StateKeeper,
        recovery: Recovery,
        book: IncidentBook,
        reporter: Reporter,
        diagnostician: Diagnostician,
        log: EventLog,
        clock: Clock,
    ) -> None:
        self.end: int | None = None
        self.drawn: tuple[Any, ...] = ()
        self._policy = policy
        self._subject = subject
        self._cursor = cursor
        self._schedule = schedule
        self._runner = runner
        self._panel = panel
        self._judge = MicroBatchJudge(subject, runner, panel)
        self._states = states
        self._keeper = keeper
        self._recovery = recovery
        self._book = book
        self._reporter = reporter
        self._diagnostician = diagnostician
        self._log = log
        self._clock = clock
        self._epoch = 0 if cursor is None else cursor.epoch

    def run(self, batch: Any, batches: int) -> StepOutcome:
        """One update on a batch, or on a tuple of `batches` of them.

        Raises:
            PolicyHalt: the ladder ended.
        """
        started = self._clock.monotonic()
        keeper, counters = self._keeper, self._keeper.counters
        before, engine = self._subject.capture_volatile(), keeper.engine
        outside = batches if self._cursor is None else 0
        counters.batches_outside += outside
        replayed = keeper.batch_number <= counters.replay_until
        place = Update(counters.step, counters.update, replayed)
        counters.update += 1
        if not replayed:
            keeper.engine = engine.tick()
        parts = batch if batches > 1 else ()
        # This batch's loss is the loss of the state that was just taken.
        first = self._states.last_remembered == place.update
        canary = self._recovery.canaries.candidate(place.update, batch, before) if first else None
        try:
            observation = self._runner.observe(batch, place)
            signals = self._panel.inspect(observation)
            if not (flagged := bool(self._causes(signals))):
                observation = self._runner.prepare(observation)
        except BaseException:
            # An exception of the user's code is a finding; an interrupt passes through, as if it had come before.
            self._subject.forget_update(before)
            counters.batches_outside -= outside
            counters.update -= 1
            keeper.engine = engine
            raise
        if flagged or observation.exception is not None:
            return self._discard(batch, parts, observation, before, undone=True)
        self.drawn = ()
        observation = self._runner.apply(observation, keeper.engine.lr_scale)
        if observation.exception is not None or self._state_check_due():
            observation = self._runner.with_state_findings(observation)
            signals = self._panel.inspect(observation)
        if self._causes(signals):
            return self._discard(batch, parts, observation, before, undone=False)
        if canary is not None:
            self._recovery.canaries.keep(canary, observation.loss, self._states.updates_in_memory)
        return self._accept(observation, signals, started)

    def put_back_unused(self) -> None:
        """Have the batches that were drawn for an update that never was come again."""
        if self._cursor is not None:
            self._cursor.put_back(self.drawn)
        self.drawn = ()

    def follow_epochs(self) -> None:
        """Step an epoch-wise schedule for every epoch that ended as a batch was drawn."""
        while self._cursor is not None and self._epoch < self._cursor.epoch:
            self._schedule.after_epoch()
            self._epoch += 1

    def _accept(self, observation: Observation, signals: tuple[Signal, ...], started: float) -> StepOutcome:
        self._reporter.observed(observation)
        self._book.signals(signals, observation)
        self._panel.accept(observation)
        keeper, counters = self._keeper, self._keeper.counters
        counters.step += 1
        counters.applied_steps += 1
        counters.final_loss = observation.loss
        self._end_epochs()
        seconds = self._clock.monotonic() - started
        counters.useful_seconds += seconds
        if not observation.replayed:
            keeper.engine, closed = advance(keeper.engine, self._policy)
            self._say_closed(closed, observation)
            self._states.healthy_step(observation.step, observation.update)
        keeper.keep(known_finite=True)
        self._reporter.step(observation, self._subject.optimizer, seconds)
        return StepOutcome(observation.step, observation.loss, observation.grad_norm, True, signals)

    def _discard(
        self, batch: Any, parts: Sequence[Any], observation: Observation, before: VolatileState, *, undone: bool
    ) -> StepOutcome:
        drawn, self.drawn = self.drawn, ()
        # Before the scaler backs off.
        observation = replace(observation, loss_scale=self._subject.loss_scale)
        self._diagnostician.before_discarding()
        self._subject.discard_update(before)
        # What the recovery depends on is on the disk by then, and on record before it.
        self._states.flush()
        if undone:
            # Not before: running statistics that the batch spoilt are put back by now, and are no damage.
            observation = self._runner.with_state_findings(observation)
        signals = self._panel.inspect(observation)
        excused = undone and self._panel.is_calibration(observation, signals)
        verdict = Verdict()
        if parts and undone and not excused:
            verdict = self._second_look(parts, observation, signals)
            observation = replace(observation, bad_batches=verdict.at_fault)
            signals = self._panel.inspect(observation)
        self._reporter.observed(observation)
        self._book.signals(signals, observation)
        outcome = StepOutcome(observation.step, observation.loss, observation.grad_norm, False, signals)
        keeper, counters = self._keeper, self._keeper.counters
        if excused:
            self._panel.calibrated()
            counters.step += 1
            self._end_epochs()
            keeper.keep(known_finite=False)
            return outcome
        # Before the detectors take note of this update: a replay is to be judged as it was.
        diagnosis = self._diagnostician.look_into(
            observation,
            self._causes(signals),
            batch,
            before,
            undone=undone,
            batch_number=None if self._cursor is None else self._cursor.last_number,
            indices=self._indices(parts or (batch,), drawn),
            replays_done=self._book.replays,
        )
        self._panel.flagged(observation)
        self._states.flagged_step(observation.step, observation.update)
        counters.skipped_steps += 1
        recovered = self._recovery.recover(
            self._causes(signals),
            observation,
            undone=undone,
            traceback=self._runner.last_traceback,
            diagnosis=diagnosis,
            can_retry=undone and self._are_drawn(parts or (batch,), drawn),
            bundle=lambda incident: self._diagnostician.write_bundle(
                incident, observation, batch, before, undone=undone
            ),
        )
        decision, restored = recovered.decision, recovered.effect.restored
        if restored is None:
            counters.step += 1
            self._put_back(parts or (batch,), drawn, verdict, retry=decision.retry)
        elif self._cursor is not None:
            # The schedule went back with the state; under `replay` so did the data.
            self._epoch = self._cursor.epoch
        self._end_epochs()
        if recovered.effect.modules:
            self._panel.forget()
        elif restored is not None:
            self._panel.restored()
        if decision.action is ActionName.HALT:
            self._book.halted(observation.step)
            keeper.save(good=restored is not None)
            self._reporter.halted(decision.reason, observation)
            raise PolicyHalt(decision.reason)
        if restored is None:
            keeper.keep(known_finite=False)
        else:
            keeper.save(good=decision.action is ActionName.RELOAD_CHECKPOINT)
        self._reporter.step(observation, self._subject.optimizer, None)
        return replace(outcome, action=decision.action)

    def _second_look(self, parts: Sequence[Any], observation: Observation, signals: tuple[Signal, ...]) -> Verdict:
        """Which accumulated batches are at fault; nobody is where the state was bad before them."""
        poisoned = observation.bad_parameters or observation.bad_optimizer_state
        if poisoned or not {signal.name for signal in signals} & TELLING:
            return Verdict()
        return self._judge.judge(parts, Update(observation.step, observation.update, observation.replayed))

    def _are_drawn(self, parts: Sequence[Any], drawn: tuple[Any, ...]) -> bool:
        """Whether the batches of an update are what the cursor drew for it."""
        return self._cursor is not None and len(drawn) == len(parts) and all(map(operator.is_, parts, drawn))

    def _indices(self, parts: Sequence[Any], drawn: tuple[Any, ...]) -> list[Any] | None:
        known = self._cursor is not None and self._are_drawn(parts, drawn)
        return self._cursor.recent_indices(parts) if self._cursor is not None and known else None

    def _put_back(self, parts: Sequence[Any], drawn: tuple[Any, ...], verdict: Verdict, *, retry: bool) -> None:
        """Have the good ones of a discarded update come again, or all where it is tried again."""
        if self._cursor is not None and self._are_drawn(parts, drawn):
            self._cursor.put_back(parts if retry else [parts[position] for position in verdict.reusable])

    def _end_epochs(self) -> None:
        """Step it also when the batch of this update was the last of an epoch, before the next one is drawn."""
        if self._cursor is not None and self._schedule.by_epoch:
            self._cursor.ended_epoch()
        self.follow_epochs()

    def _causes(self, signals: tuple[Signal, ...]) -> tuple[Signal, ...]:
        return self._policy.causes(signals)

    def _state_check_due(self) -> bool:
        done = self._keeper.counters.step + 1
        return done % self._policy.detect.state_every_steps == 0 or done == self.end or self._keeper.due(done)

    def _say_closed(self, closed: Closed, observation: Observation) -> None:
        if closed.incident is not None:
            self._book.closed(closed, observation.step, observation.update)
        if closed.cuts_taken_back:
            scale = self._keeper.engine.lr_scale
            self._log.emit(LrRestoredEvent(step=observation.step, update=observation.update, lr_scale=scale))
