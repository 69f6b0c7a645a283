"""Cures of the set-up: tried on forks of the newest good state, and put in force where one helps."""

from __future__ import annotations

import functools
import math
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from torch import nn

from supervisor.actions import Effect
from supervisor.errors import ActionError
from supervisor.events import EventLog
from supervisor.events.schema import CureChosenEvent, CureTriedEvent, SignalEvent
from supervisor.experiments import CuresInForce, Forks, Stopped, why_not_applied, zero_output_losses
from supervisor.experiments.choice import KEEP, chosen_cure
from supervisor.experiments.fork import Setting, Update, drawn_updates
from supervisor.policy import Cure, DataAfterReload, TryCuresRung
from supervisor.policy.cures import changes_of, label_of
from supervisor.records import CureScore
from supervisor.signals.dead_units import dead_units_signal
from supervisor.states import Restoring
from supervisor.states.restore_points import RestorePoint
from supervisor.training.data_cursor import DataCursor
from supervisor.training.dead_units import DeadUnits
from supervisor.training.modules import named_modules
from supervisor.update import Attempt, Executor

__all__ = ["Curing", "StopRequest"]

CLEARLY_BELOW = 1.5
"""How many times lower than the loss of zeros the best fork has to end. Otherwise its state may be past saving."""

Redraw = Callable[[Mapping[str, nn.Module]], None]
"""Draws modules afresh, the same way each time."""


@dataclass(slots=True)
class StopRequest:
    """Whether the run is asked to stop."""

    requested: bool = False


@dataclass(frozen=True, slots=True)
class _Tried:
    """A cure that was tried: what it changes (None: nothing), from which state, and what came of it.

    Attributes:
        cure: what it changes.
        point: the state that its fork began from.
        start: the loss of the probe batches in that state.
        zeros: their loss with zeros for the model's output, None where that is not known.
        score: their loss after the fork's training.
    """

    cure: Cure | None
    point: RestorePoint
    start: float
    zeros: float | None
    score: float

    def leads_on(self, tolerance: float) -> bool:
        """Whether it did not lose what the state could do already; one that only loses it more slowly is no cure."""
        return not math.isfinite(self.start) or self.score <= self.start + tolerance * abs(self.start)


@dataclass(slots=True)
class Curing:
    """Tries the cures of a rung, and keeps the one that helps.

    Attributes:
        restoring: knows the good states, and goes back to one.
        executor: runs the forks.
        cures: those in force.
        stop: abandons what is being tried.
        log: hears of every one that was tried.
        initial: the state in which the run began, as long as its set-up is in question; None later.
    """

    restoring: Restoring
    executor: Executor
    cures: CuresInForce
    stop: StopRequest
    log: EventLog
    initial: RestorePoint | None = field(default=None, init=False)

    def keep_initial(self) -> None:
        """Hold the newest good state as the one in which the run began, where states are held in memory at all."""
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

    def try_cures(self, rung: TryCuresRung, attempt: Attempt, redraw: Redraw, *, of_itself: bool) -> Effect:
        """Try the cures of a rung on the same batches, and go on with the one that helps.

        Args:
            rung: the cures.
            attempt: the update that is answered.
            redraw: draws modules afresh, for `reinitialize_flagged`.
            of_itself: whether a finding about the set-up asks; where no cure helps, the training then goes on as it is.

        Raises:
            ActionError: no cure helps, or they could not be tried, and `of_itself` is not so.
        """
        tried: dict[str, _Tried] = {}
        try:
            self._try_all(tried, rung, attempt, redraw, of_itself=of_itself)
        except Stopped:
            # Where the update reached the weights, a good state is put back for the next process to begin with.
            restored = None if attempt.undone else self.restoring.restore(DataAfterReload.ADVANCE, attempt.seen)
            return Effect(restored=restored)
        except ActionError:
            if of_itself:
                return Effect(closes=True)
            raise
        name = self._chosen(tried, rung)
        self._record(tried, name, attempt)
        if name is not None:
            return self._commit(tried[name], redraw)
        if of_itself:
            return Effect(closes=True)
        raise ActionError(f"none of {len(tried) - 1} cures of the set-up trains better than none")

    def _chosen(self, tried: Mapping[str, _Tried], rung: TryCuresRung) -> str | None:
        scores = {
            name: each.score if each.cure is None or each.leads_on(rung.tolerance) else math.inf
            for name, each in tried.items()
        }
        best = tried[min(scores, key=lambda name: scores[name])]
        # A start that is worse than saying nothing was not learnt from: it would excuse anything.
        start = best.start if best.zeros is None else min(best.start, best.zeros)
        return chosen_cure(scores, improve=rung.improve, tolerance=rung.tolerance, start=start)

    def _try_all(
        self, tried: dict[str, _Tried], rung: TryCuresRung, attempt: Attempt, redraw: Redraw, *, of_itself: bool
    ) -> None:
        """Try them on the newest good state, and on the initial one too where the newest cannot be saved."""
        points, newest = self.restoring.points, self._newest_good()
        count = rung.steps + rung.probe_batches
        with drawn_updates(points.data, count, len(attempt.batches)) as updates:
            known = self._try_from(newest, "", updates, tried, rung, attempt, redraw, of_itself=of_itself)
            if self.initial is None or self.initial.update == newest.update:
                return
            best = min(each.score for each in tried.values())
            if self._chosen(tried, rung) is None if known is None else best > known / CLEARLY_BELOW:
                how = " from the start"
                self._try_from(self.initial, how, updates, tried, rung, attempt, redraw, of_itself=of_itself)

    def _try_from(
        self,
        point: RestorePoint,
        how: str,
        updates: list[Update],
        tried: dict[str, _Tried],
        rung: TryCuresRung,
        attempt: Attempt,
        redraw: Redraw,
        *,
        of_itself: bool,
    ) -> float | None:
        """Try all cures from one state. Gives the median loss of zeros, where that is known."""
        subject = self.restoring.points.subject
        forks = Forks(subject, self.executor, point.training, lambda: self.stop.requested)
        with forks.undone():
            updates = self._usable(forks, updates, attempt)
            probe, train = updates[: rung.probe_batches], updates[rung.probe_batches :]
            if not train:
                raise ActionError("too few of the coming batches give a finite loss")
            start = forks.at_root(probe)
            silent = zero_output_losses(subject, self.executor, probe)
            zeros = None if silent is None else statistics.median(silent)
            for each in rung.cures:
                cure = changes_of(each)
                if (how and cure is None) or (cure is not None and not self._applies(cure, of_itself=of_itself)):
                    continue
                score = forks.score(train, probe, functools.partial(self._changed, cure, redraw))
                tried[label_of(each) + how] = _Tried(cure, point, start, zeros, score)
                self._tell(label_of(each) + how, score, attempt)
        return zeros

    def _tell(self, name: str, score: float, attempt: Attempt) -> None:
        incident = self.restoring.points.ledger.engine.incident
        event = CureTriedEvent(
            step=attempt.place.step,
            update=attempt.place.update,
            incident=1 if incident is None else incident.id,
            cure=name,
            score=score,
        )
        self.log.emit(event)

    def _usable(self, forks: Forks, updates: list[Update], attempt: Attempt) -> list[Update]:
        """The updates that are sound at the root, if most are: what is bad there tells nothing about the set-up."""
        units = DeadUnits()
        with units.watching(self.restoring.points.subject.model):
            sound = forks.healthy(updates)
        dead = dead_units_signal(units.shares())
        if dead is not None:
            self.log.emit(SignalEvent.from_signal(dead, step=attempt.place.step, update=attempt.place.update))
        kept = [update for update, healthy in zip(updates, sound, strict=True) if healthy]
        return kept if 2 * len(kept) > len(updates) else updates

    def _applies(self, cure: Cure, *, of_itself: bool) -> bool:
        if cure.lr is not None and cure.lr > 1 and not of_itself:
            # Numbers that are not finite are no reason to go faster.
            return False
        points = self.restoring.points
        return why_not_applied(cure, points.subject, self.executor, self.cures.flagged) is None

    def _changed(self, cure: Cure | None, redraw: Redraw) -> Setting:
        if cure is not None and cure.reinitialize_flagged:
            redraw(self._flagged())
        return self.cures.on_a_fork(cure)

    def _flagged(self) -> dict[str, nn.Module]:
        modules = dict(named_modules(self.restoring.points.subject.model))
        return {name: modules[name] for name in self.cures.flagged if name in modules}

    def _newest_good(self) -> RestorePoint:
        restoring = self.restoring
        for _, point, _ in restoring.states.newest_good():
            if restoring.points.subject.misfit(point.training) is None and not restoring.check.bad_in(point.training):
                return point
        raise ActionError("there is no good state to fork from")

    def _record(self, tried: Mapping[str, _Tried], chosen: str | None, attempt: Attempt) -> None:
        ledger = self.restoring.points.ledger
        ledger.tried(tuple(CureScore(name, each.score, name == chosen) for name, each in tried.items()))
        if chosen is None or ledger.incident is None:
            return
        event = CureChosenEvent(
            step=attempt.place.step,
            update=attempt.place.update,
            incident=ledger.incident.id,
            cure=chosen,
            score=tried[chosen].score,
            keep_score=tried[KEEP].score,
        )
        self.log.emit(event)

    def _commit(self, tried: _Tried, redraw: Redraw) -> Effect:
        cure = tried.cure
        restored = self.restoring.go_back_to(tried.point)
        modules = self._flagged() if cure is not None and cure.reinitialize_flagged else {}
        if modules:
            redraw(modules)
        if cure is not None:
            self.cures.put_in_force(cure)
        # What is redrawn would be lost with the next reload; it is newer than the state it was drawn on.
        self.restoring.states.memory.remember(self.restoring.points.take(), good=True)
        return Effect(restored=restored, modules=tuple(modules))
