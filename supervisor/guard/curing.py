"""Cures of the set-up: tried on forks of the newest good state, and put in force where one helps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import nn

from supervisor.actions import Effect
from supervisor.errors import ActionError
from supervisor.events import EventLog
from supervisor.events.schema import CureChosenEvent, CureTriedEvent, SignalEvent
from supervisor.experiments import CuresInForce, Forks, Stopped, why_not_applied
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

Redraw = Callable[[Mapping[str, nn.Module]], None]
"""Draws modules afresh, the same way each time."""


@dataclass(slots=True)
class StopRequest:
    """Whether the run is asked to stop."""

    requested: bool = False


@dataclass(frozen=True, slots=True)
class Curing:
    """Tries the cures of a rung, and keeps the one that helps.

    Attributes:
        restoring: knows the good states, and goes back to one.
        executor: runs the forks.
        cures: those in force.
        stop: abandons what is being tried.
        log: hears of every one that was tried.
    """

    restoring: Restoring
    executor: Executor
    cures: CuresInForce
    stop: StopRequest
    log: EventLog

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
        point = self._root()
        try:
            scores = self._scores(rung, attempt, point, redraw, of_itself=of_itself)
        except Stopped:
            # The next process answers the next finding; until then a good state does.
            goes_back = not attempt.undone
            restored = self.restoring.restore(DataAfterReload.ADVANCE, attempt.seen) if goes_back else None
            return Effect(restored=restored)
        except ActionError:
            if of_itself:
                return Effect(closes=True)
            raise
        name = chosen_cure(scores, improve=rung.improve, tolerance=rung.tolerance)
        self._record(scores, name, attempt)
        if name is None:
            if of_itself:
                return Effect(closes=True)
            raise ActionError(f"none of {len(scores) - 1} cures of the set-up trains better than none")
        cure = next(changes for each in rung.cures if label_of(each) == name and (changes := changes_of(each)))
        return self._commit(cure, point, redraw)

    def _scores(
        self, rung: TryCuresRung, attempt: Attempt, point: RestorePoint, redraw: Redraw, *, of_itself: bool
    ) -> dict[str, float]:
        points, count = self.restoring.points, rung.steps + rung.probe_batches
        forks = Forks(points.subject, self.executor, point.training, lambda: self.stop.requested)
        incident = points.ledger.engine.incident
        scores: dict[str, float] = {}
        with drawn_updates(points.data, count, len(attempt.batches)) as updates, forks.undone():
            updates = self._usable(forks, updates, attempt)
            train, probe = updates[rung.probe_batches :], updates[: rung.probe_batches]
            if not train:
                raise ActionError("too few of the coming batches give a finite loss")
            for each in rung.cures:
                cure = changes_of(each)
                if cure is not None and not self._applies(cure, of_itself=of_itself):
                    continue
                name = label_of(each)
                scores[name] = forks.score(train, probe, lambda cure=cure: self._changed(cure, redraw))  # type: ignore[misc]
                event = CureTriedEvent(
                    step=attempt.place.step,
                    update=attempt.place.update,
                    incident=1 if incident is None else incident.id,
                    cure=name,
                    score=scores[name],
                )
                self.log.emit(event)
        return scores

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

    def _root(self) -> RestorePoint:
        restoring = self.restoring
        for _, point, _ in restoring.states.newest_good():
            if restoring.points.subject.misfit(point.training) is None and not restoring.check.bad_in(point.training):
                return point
        raise ActionError("there is no good state to fork from")

    def _record(self, scores: Mapping[str, float], chosen: str | None, attempt: Attempt) -> None:
        ledger = self.restoring.points.ledger
        ledger.tried(tuple(CureScore(name, score, name == chosen) for name, score in scores.items()))
        if chosen is None or ledger.incident is None:
            return
        event = CureChosenEvent(
            step=attempt.place.step,
            update=attempt.place.update,
            incident=ledger.incident.id,
            cure=chosen,
            score=scores[chosen],
            keep_score=scores[KEEP],
        )
        self.log.emit(event)

    def _commit(self, cure: Cure, point: RestorePoint, redraw: Redraw) -> Effect:
        restored = self.restoring.go_back_to(point)
        modules = self._flagged() if cure.reinitialize_flagged else {}
        if modules:
            redraw(modules)
        self.cures.put_in_force(cure)
        # What is redrawn would be lost with the next reload; it is newer than the state it was drawn on.
        self.restoring.states.memory.remember(self.restoring.points.take(), good=True)
        return Effect(restored=restored, modules=tuple(modules))
