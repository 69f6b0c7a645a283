"""Cures of the set-up: the one that helps on forks of a good state is put in force."""

from __future__ import annotations

import contextlib
import math
from dataclasses import dataclass, field

from supervisor.actions import Effect
from supervisor.errors import ActionError
from supervisor.events import EventLog
from supervisor.events.schema import CureChosenEvent
from supervisor.experiments import CuresInForce, Stopped
from supervisor.experiments.fork import drawn_updates
from supervisor.guard.cure_choice import chosen_trial, to_look_at_longer
from supervisor.guard.cure_trials import CureRequest, CureTrials, StopRequest, Trial, modules_named
from supervisor.policy import DataAfterReload
from supervisor.records import CureScore
from supervisor.states import Restoring
from supervisor.states.restore_points import RestorePoint
from supervisor.training.data_cursor import DataCursor
from supervisor.update import Executor

__all__ = ["Curing"]

LONGER = 2
"""How many times the rung's steps those cures are trained for beyond them, between which they do not decide."""

CLEARLY_BELOW = 1.5
"""How many times lower than the loss of zeros the best fork has to end. Otherwise its state may be past saving."""


@dataclass(slots=True)
class Curing:
    """Tries the cures of a rung, and keeps the one that helps.

    Attributes:
        restoring: knows the good states, and goes back to one.
        executor: runs the forks.
        cures: those in force.
        stop: abandons what is being tried.
        log: hears of every one that was tried.
        accumulate: batches an update.
        initial: the state in which the run began, as long as its set-up is in question; None later.
    """

    restoring: Restoring
    executor: Executor
    cures: CuresInForce
    stop: StopRequest
    log: EventLog
    accumulate: int = 1
    initial: RestorePoint | None = field(default=None, init=False)

    def keep_initial(self) -> None:
        """Hold the good state in memory as the one in which the run began, where states are held there at all."""
        states = self.restoring.states
        self.initial = next((point for kept, point in states.memory if kept.good), None)
        if self.initial is not None:
            states.spares.hold(self.initial)

    def let_initial_go(self) -> None:
        """The set-up is not in question any more."""
        if self.initial is not None:
            self.restoring.states.spares.let_go(self.initial)
            self.initial = None

    def why_not(self) -> str | None:
        """Why no cure can be tried now; None where they can."""
        if self.executor.no_replay is not None:
            return self.executor.no_replay
        if not isinstance(self.restoring.points.data, DataCursor):
            return "the guard does not draw the batches, so that it has none for a fork"
        return None

    def try_cures(self, request: CureRequest) -> Effect:
        """Try the cures of a rung on the same batches, and go on with the one that helps.

        Raises:
            ActionError: no cure helps, or they could not be tried, and it is no finding about the set-up that asks.
        """
        subject, attempt = self.restoring.points.subject, request.attempt
        trials = CureTrials(subject, self.executor, self.cures, self.stop, self.log, request)
        try:
            self._run(trials)
        except Stopped:
            # Where the update reached the weights, a good state is put back for the next process to begin with.
            return Effect(None if attempt.undone else self.restoring.restore(DataAfterReload.ADVANCE, attempt.seen))
        except ActionError:
            if request.of_itself:
                return Effect(closes=True)
            raise
        chosen = chosen_trial(trials.done, request.rung)
        self._record(trials, chosen)
        if chosen is not None:
            return self._commit(chosen, request)
        if request.of_itself:
            return Effect(closes=True)
        raise ActionError(f"none of {len(trials.done) - 1} cures of the set-up trains better than none")

    def _run(self, trials: CureTrials) -> None:
        """Try them on the newest good state, and on the initial one too where the newest may be past saving."""
        # What is answered need not have batches: the data may have raised for them.
        points, request, newest = self.restoring.points, trials.request, self._newest_good()
        incident, rung = points.ledger.engine.incident, trials.request.rung
        number = 1 if incident is None else incident.id
        count = rung.steps + rung.probe_batches
        with drawn_updates(points.data, count, self.accumulate) as updates:
            trials.run(newest, updates, number)
            if self.initial is not None and self.initial.update != newest.update:
                zeros, best = trials.done[0].zeros, min(trial.score for trial in trials.done)
                past_saving = chosen_trial(trials.done, rung) is None if zeros is None else best > zeros / CLEARLY_BELOW
                # A run that is found to have learnt nothing loses nothing by its start.
                if request.of_itself or past_saving:
                    trials.run(self.initial, updates, number)
            close = to_look_at_longer(trials.done, rung)
            # The data may end before.
            with (
                contextlib.suppress(ActionError),
                drawn_updates(points.data, LONGER * rung.steps if close else 0, self.accumulate) as more,
            ):
                trials.look_longer(close, [*updates, *more], number)

    def _newest_good(self) -> RestorePoint:
        restoring = self.restoring
        for _, point, _ in restoring.states.newest_good():
            if restoring.points.subject.misfit(point.training) is None and not restoring.check.bad_in(point.training):
                return point
        raise ActionError("there is no good state to fork from")

    def _record(self, trials: CureTrials, chosen: Trial | None) -> None:
        ledger, place = self.restoring.points.ledger, trials.request.attempt.place
        done = trials.done
        ledger.tried(tuple(CureScore(each.label, each.score, each.point.step, each is chosen) for each in done))
        if chosen is None or ledger.incident is None:
            return
        event = CureChosenEvent(
            step=place.step,
            update=place.update,
            incident=ledger.incident.id,
            cure=chosen.label,
            score=chosen.score,
            keep_score=next((trial.score for trial in done if trial.cure is None), math.inf),
        )
        self.log.emit(event)

    def _commit(self, chosen: Trial, request: CureRequest) -> Effect:
        restoring, cure = self.restoring, chosen.cure
        if cure is None:
            raise ValueError("changing nothing is no cure")
        restored = restoring.go_back_to(chosen.point)
        redraws = cure.reinitialize_flagged
        modules = modules_named(self.cures.flagged, restoring.points.subject.model) if redraws else {}
        if modules:
            request.redraw(modules)
        self.cures.put_in_force(cure)
        # What is redrawn would be lost with the next reload; it is newer than the state it was drawn on.
        restoring.states.memory.remember(restoring.points.take(), good=True)
        return Effect(restored=restored, modules=tuple(modules))
