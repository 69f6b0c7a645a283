"""The trials of one rung's cures: each on a fork of the same state, with the same batches."""

from __future__ import annotations

import functools
import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from torch import nn

from supervisor.actions.module_matching import whole_cell
from supervisor.errors import ActionError
from supervisor.events import EventLog
from supervisor.events.schema import CureTriedEvent, SignalEvent
from supervisor.experiments import CuresInForce, Forks, why_not_applied, zero_output_losses
from supervisor.experiments.fork import Setting, Update
from supervisor.policy import Cure, TryCuresRung
from supervisor.policy.cures import changes_of, label_of
from supervisor.signals.dead_units import dead_units_signal
from supervisor.states.restore_points import RestorePoint
from supervisor.training.dead_units import DeadUnits
from supervisor.training.modules import named_modules
from supervisor.training.state import Subject
from supervisor.update import Attempt, Executor

__all__ = ["CureRequest", "CureTrials", "StopRequest", "Trial", "modules_named"]

Redraw = Callable[[Mapping[str, nn.Module]], None]
"""Draws modules afresh, the same way each time."""


@dataclass(slots=True)
class StopRequest:
    """Whether the run is asked to stop."""

    requested: bool = False


@dataclass(frozen=True, slots=True)
class CureRequest:
    """What is to be tried, and for whom.

    Attributes:
        rung: the cures, and how they are judged.
        attempt: the update that is answered.
        redraw: draws modules afresh, for `reinitialize_flagged`.
        of_itself: whether a finding about the set-up asks; where no cure helps, the training then goes on as it is.
    """

    rung: TryCuresRung
    attempt: Attempt
    redraw: Redraw
    of_itself: bool


@dataclass(frozen=True, slots=True, eq=False)
class Trial:
    """A cure that was tried, and what came of it.

    Attributes:
        label: its name.
        cure: what it changes, None where it changes nothing.
        point: the state that its fork began from.
        start: the loss of the probe batches in that state.
        zeros: their loss with zeros for the model's output, None where that is not known.
        score: their loss after the fork's training.
        longer: their loss after a longer one; None where there was none.
    """

    label: str
    cure: Cure | None
    point: RestorePoint
    start: float
    zeros: float | None
    score: float
    longer: float | None = None

    def leads_on(self, tolerance: float) -> bool:
        """Whether it did not lose what the state could do already; what only loses it more slowly is no cure."""
        return not math.isfinite(self.start) or self.score <= self.start + tolerance * abs(self.start)


@dataclass(slots=True)
class CureTrials:
    """Tries cures, and puts everything back.

    Attributes:
        subject: the training objects.
        executor: runs the forks.
        cures: those in force, and the modules of a wrong scale.
        stop: abandons what is being tried.
        log: hears of every trial.
        request: what is tried.
        done: the trials so far.
    """

    subject: Subject
    executor: Executor
    cures: CuresInForce
    stop: StopRequest
    log: EventLog
    request: CureRequest
    done: list[Trial] = field(default_factory=list, init=False)

    def run(self, point: RestorePoint, updates: Sequence[Update], incident: int) -> None:
        """Try all cures from one state. Changing nothing is tried from the first state alone.

        Args:
            point: the state.
            updates: the batches of the coming updates; those of the first are for judging.
            incident: for the record.

        Raises:
            ActionError: the loss cannot be called again, or too few batches can be used.
            Stopped: a stop was requested.
        """
        rung, first = self.request.rung, not self.done
        forks = Forks(self.subject, self.executor, point.training, lambda: self.stop.requested)
        with forks.undone():
            usable = self._usable(forks, updates)
            probe, train = usable[: rung.probe_batches], usable[rung.probe_batches :]
            if not train:
                raise ActionError("too few of the coming batches give a finite loss")
            start = forks.at_root(probe)
            silent = zero_output_losses(self.subject, self.executor, probe)
            zeros = None if silent is None else statistics.median(silent)
            for written in rung.cures:
                cure, label = changes_of(written), label_of(written)
                if not first if cure is None else not self._applies(cure):
                    continue
                score = forks.score(train, probe, functools.partial(self._changed, cure))
                self.done.append(Trial(label, cure, point, start, zeros, score))
                self._tell(self.done[-1], incident, score, len(train))

    def look_longer(self, close: Sequence[Trial], updates: Sequence[Update], incident: int) -> None:
        """Train some of the forks for longer; the arguments and what is raised are those of `run`."""
        for trial in close:
            forks = Forks(self.subject, self.executor, trial.point.training, lambda: self.stop.requested)
            with forks.undone():
                usable = self._usable(forks, updates)
                probe, train = usable[: self.request.rung.probe_batches], usable[self.request.rung.probe_batches :]
                longer = forks.score(train, probe, functools.partial(self._changed, trial.cure))
            self.done[self.done.index(trial)] = replace(trial, longer=longer)
            self._tell(trial, incident, longer, len(train))

    def _tell(self, trial: Trial, incident: int, score: float, updates: int) -> None:
        place = self.request.attempt.place
        event = CureTriedEvent(
            step=place.step,
            update=place.update,
            incident=incident,
            cure=trial.label,
            score=score,
            from_step=trial.point.step,
            updates=updates,
        )
        self.log.emit(event)

    def _usable(self, forks: Forks, updates: Sequence[Update]) -> list[Update]:
        """The updates that are sound at the root, if most are: what is bad there tells nothing about the set-up."""
        units, place = DeadUnits(), self.request.attempt.place
        with units.watching(self.subject.model):
            sound = forks.healthy(updates)
        dead = dead_units_signal(units.shares())
        if dead is not None:
            self.log.emit(SignalEvent.from_signal(dead, step=place.step, update=place.update))
        kept = [update for update, healthy in zip(updates, sound, strict=True) if healthy]
        return kept if 2 * len(kept) > len(updates) else [*updates]

    def _applies(self, cure: Cure) -> bool:
        # Numbers that are not finite are no reason to go faster.
        faster = cure.lr is not None and cure.lr > 1
        if faster and not self.request.of_itself:
            return False
        if self.request.of_itself and self.cures.redraws_only and not cure.reinitialize_flagged:
            return False
        return why_not_applied(cure, self.subject, self.executor, self.cures.flagged) is None

    def _changed(self, cure: Cure | None) -> Setting:
        if cure is not None and cure.reinitialize_flagged:
            self.request.redraw(modules_named(self.cures.flagged, self.subject.model))
        return self.cures.on_a_fork(cure)


def modules_named(names: Sequence[str], model: nn.Module) -> dict[str, nn.Module]:
    """The modules of these names that are there; in place of the parts of a recurrent cell, the cell."""
    there = dict(named_modules(model))
    return dict(whole_cell(model, name) for name in names if name in there)
