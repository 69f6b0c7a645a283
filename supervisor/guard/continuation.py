"""How the run goes on after an update: the ledger, the data, the schedule, the detectors and the states follow it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from supervisor.evidence import Blame
from supervisor.experiments import Experimenter
from supervisor.guard.outcome import StepOutcome
from supervisor.guard.recovery import Recovered
from supervisor.record.incident_log import IncidentLog
from supervisor.record.run_log import RunLog
from supervisor.records import ActionName
from supervisor.states import GoodStates, RestorePoints, StateTaker
from supervisor.training.schedule import Schedule
from supervisor.update import Attempt

__all__ = ["Continuation"]

UNTOUCHED = frozenset({Blame.DATA, Blame.MACHINE, Blame.SETUP})
"""Blames under which the state was not touched, so that what is on probation stays as it is."""


@dataclass(frozen=True, slots=True)
class Continuation:
    """Carries the end of an update on to everything that goes by it, one verb for each way an update can end.

    Attributes:
        points: the training objects, the data and the ledger.
        schedule: the learning-rate schedule.
        states: the states to go back to.
        taker: takes the next one when it is due.
        incident_log: the record of incidents.
        run_log: the record of the run.
        experimenter: keeps the healthy batches; its detectors learn from healthy updates alone.
    """

    points: RestorePoints
    schedule: Schedule
    states: GoodStates
    taker: StateTaker
    incident_log: IncidentLog
    run_log: RunLog
    experimenter: Experimenter

    def check_due(self, attempt: Attempt) -> bool:
        """Whether the state is to be looked at once this update is applied."""
        return self.taker.check_due(attempt.place.step + 1)

    def noted(self, attempt: Attempt) -> None:
        """Put on record what an update measured and what was found about it."""
        self.run_log.observed(attempt.seen)
        if attempt.signals:
            self.incident_log.signals(attempt.signals, attempt.seen)

    def accept(self, attempt: Attempt) -> StepOutcome:
        """The update stands."""
        seen, ledger = attempt.seen, self.points.ledger
        if attempt.signals or self.run_log.observations is not None:
            self.noted(attempt)
        self.experimenter.accepted(attempt)
        if seen.headroom is not None:
            self.run_log.forecast(self.experimenter.examining.detectors.forecasts(), seen)
        ended = ledger.applied(seen)
        if self.schedule.by_epoch:
            self.schedule.follow(self.points.data, update_ended=True)
        seconds = ledger.spent_since(attempt.started)
        if ended is not None:
            self.incident_log.closed(*ended, seen, ledger.lr_scale)
        if not seen.replayed:
            self.states.healthy_step(seen.step, seen.update)
        self.taker.take_due(known_finite=True)
        self.run_log.states_seconds = self.taker.seconds
        self.run_log.step(seen, self.points.subject.optimizer, seconds)
        return StepOutcome(seen.step, seen.loss, seen.grad_norm, True, attempt.signals)

    def excuse(self, attempt: Attempt) -> StepOutcome:
        """The update was discarded because a gradient scaler is still looking for its scale: no incident."""
        self.experimenter.examining.detectors.calibrated()
        self.points.ledger.used_up()
        self.schedule.follow(self.points.data, update_ended=True)
        self.taker.take_due(known_finite=False)
        return self._discarded(attempt, None)

    def flag(self, attempt: Attempt) -> None:
        """The update is bad: it counts for nothing, and states on probation begin anew."""
        evidence, place = attempt.evidence, attempt.place
        self.experimenter.examining.detectors.flagged(attempt.seen)
        if evidence is not None and attempt.gone_back_over:
            attempt.evidence = replace(evidence, gone_back_over=attempt.gone_back_over)
            self.states.forget_newer(place.update - attempt.gone_back_over, place.step, place.update)
            self.points.ledger.disowned(attempt.gone_back_over)
        self.states.answering(place.step, place.update)
        if evidence is None or evidence.blame not in UNTOUCHED:
            self.states.flagged_step()
        self.points.ledger.flagged()

    def go_on(self, attempt: Attempt, recovered: Recovered) -> StepOutcome:
        """An action has answered the update."""
        self._follow_data(attempt, recovered)
        if recovered.effect.restored is None:
            self.taker.take_due(known_finite=False)
        else:
            # So that a crash does not bring back what was left.
            known = (ActionName.RELOAD_CHECKPOINT, ActionName.TRY_CURES)
            self.taker.commit(good=recovered.decision.action in known)
        self.run_log.step(attempt.seen, self.points.subject.optimizer, None)
        return self._discarded(attempt, recovered.decision.action)

    def halt(self, attempt: Attempt, recovered: Recovered) -> StepOutcome:
        """The ladder has ended."""
        self._follow_data(attempt, recovered)
        self.points.ledger.halt(attempt.place.step)
        self.incident_log.write(self.points.ledger.incident)
        self.taker.commit(good=recovered.effect.restored is not None or recovered.decision.in_place)
        self.run_log.states_seconds = self.taker.seconds
        self.run_log.halted(recovered.decision.reason, attempt.seen)
        return self._discarded(attempt, ActionName.HALT)

    def break_off(self, attempt: Attempt) -> None:
        """The program is at fault: as if the batch had never been drawn, for the exception ends the run."""
        data = self.points.data
        if attempt.drawn:
            data.put_back(attempt.batches)
        else:
            data.taken_from(attempt.batches)
        self.points.ledger.cancel(attempt.place)

    @property
    def halt_reason(self) -> str | None:
        """Why the run has ended in `halt`; None where it has not."""
        return self.points.ledger.halt_reason

    def _follow_data(self, attempt: Attempt, recovered: Recovered) -> None:
        effect, data = recovered.effect, self.points.data
        if effect.restored is None:
            self.points.ledger.used_up()
            if attempt.drawn:
                data.put_back(_coming_again(attempt, recovered))
        else:
            # The schedule went back with the state; under `replay` so did the data.
            self.schedule.begin_at(data.epoch)
        self.schedule.follow(data, update_ended=True)
        examining = self.experimenter.examining
        if effect.modules or (effect.restored is not None and recovered.decision.action is ActionName.TRY_CURES):
            # Under another set-up, or with other weights, the old numbers are no measure.
            examining.detectors.forget()
            examining.canaries.begin_anew()
        elif effect.restored is not None:
            examining.detectors.restored()
        if effect.restored is not None:
            self.experimenter.restored()

    def _discarded(self, attempt: Attempt, action: ActionName | None) -> StepOutcome:
        seen = attempt.seen
        return StepOutcome(seen.step, seen.loss, seen.grad_norm, False, attempt.signals, action)


def _coming_again(attempt: Attempt, recovered: Recovered) -> Sequence[Any]:
    """The batches of a discarded update that come again."""
    if recovered.decision.retry:
        return attempt.batches
    return attempt.mended or [attempt.batches[position] for position in attempt.reusable]
