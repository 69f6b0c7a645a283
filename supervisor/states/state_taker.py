"""Takes the states that a run may have to go back to, when they are due, with all that a checkpoint carries."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from supervisor.errors import InputError, text_of
from supervisor.events.writer import EventLog
from supervisor.policy import RecoveryPolicy
from supervisor.record.next_batches import NextBatches
from supervisor.states.evaluations import Evaluations
from supervisor.states.good_states import GoodStates
from supervisor.states.restore_points import RestorePoint, RestorePoints
from supervisor.training.data_position import writable
from supervisor.training.inspection import StateCheck
from supervisor.training.trainer import Stateful

__all__ = ["CheckpointParts", "Companions", "StateTaker"]


class CheckpointParts:
    """The parts of a run whose memory goes into its checkpoints, beside the restore point and the ledger.

    Args:
        **parts: each under its name. The names are part of the file format.

    Attributes:
        LATER: names of the parts that the first checkpoints did not have: where they lack one, it begins afresh.
    """

    LATER = frozenset({"canaries", "cures", "experiments"})

    def __init__(self, **parts: Stateful) -> None:
        self._parts = parts

    def tree(self) -> dict[str, Any]:
        """What every part remembers."""
        return {name: part.state_dict() for name, part in self._parts.items()}

    def load(self, tree: Mapping[str, Any]) -> None:
        """Have every part take its own back.

        Raises:
            KeyError: one is missing in `tree` that every version has written.
        """
        for name, part in self._parts.items():
            if name in tree or name not in self.LATER:
                part.load_state_dict(tree[name])


@dataclass(frozen=True, slots=True)
class Companions:
    """What goes along with each checkpoint.

    Attributes:
        evaluations: the evaluations amid the training; None: there are none.
        next_batches: told of each checkpoint, to note what is drawn after it; None: nobody asks.
    """

    evaluations: Evaluations | None = None
    next_batches: NextBatches | None = None


@dataclass(slots=True)
class StateTaker:
    """Knows when a state is due, and never takes one that is not finite.

    Attributes:
        policy: intervals.
        check: finds non-finite state.
        points: takes the state.
        states: where it goes.
        parts: what a checkpoint carries beside it.
        log: hears what could not be taken.
        along: what goes along with each checkpoint.
        end: where the schedule ends, None while that is not known; the last step's state is always checked.
        seconds: wall time that the training has waited for states so far.
    """

    policy: RecoveryPolicy
    check: StateCheck
    points: RestorePoints
    states: GoodStates
    parts: CheckpointParts
    log: EventLog
    along: Companions = field(default_factory=Companions)
    end: int | None = field(default=None, init=False)
    seconds: float = field(default=0.0, init=False)
    _snapshot_every: int = field(init=False)
    _checkpoint_every: int = field(init=False)

    def __post_init__(self) -> None:
        self._snapshot_every = self.policy.snapshot.every_steps if self.policy.snapshot.keep > 0 else 0
        self._checkpoint_every = self.policy.checkpoint.every_steps if self.states.disk is not None else 0

    def due(self, step: int) -> bool:
        """Whether a state is to be taken after `step` steps."""
        snapshot, checkpoint = self._snapshot_every, self._checkpoint_every
        return (snapshot > 0 and step % snapshot == 0) or (checkpoint > 0 and step % checkpoint == 0)

    def check_due(self, step: int) -> bool:
        """Whether the state is to be looked at after `step` steps: also before any is taken."""
        return step % self.policy.detect.state_every_steps == 0 or step == self.end or self.due(step)

    def begin(self) -> None:
        """Take the initial state, which is good at once.

        Raises:
            InputError: it is not finite, or a `state_dict` holds what no checkpoint can.
        """
        bad = (*self.check.bad_parameters(), *self.check.bad_optimizer_state())
        if bad:
            raise InputError(f"{', '.join(bad)} not finite before the first step: mend the initial state")
        began = self.points.ledger.now()
        point = self.points.take()
        self.states.memory.remember(point, good=True)
        try:
            self._save(point, good=True, wait=True)
        except TypeError as error:
            # Found at once, not after hours: what a state_dict holds is the user's.
            raise InputError(text_of(error)) from error
        self.seconds += self.points.ledger.now() - began

    def take_due(self, *, known_finite: bool) -> None:
        """Evaluate the present state and take it, where either is due now, or where it proves to be the best so far.

        It is evaluated first: a checkpoint then says that its step was, and a run that is resumed from an older one
        comes to the same evaluations.
        """
        step = self.points.ledger.counters.step
        evaluations = self.along.evaluations
        metrics = None if evaluations is None else evaluations.take_due()
        due, best = self.due(step), evaluations is not None and evaluations.best(metrics)
        if not (due or best) or not ((due and known_finite) or self.check.is_finite()):
            return
        began = self.points.ledger.now()
        point = self.points.take()
        if self._snapshot_every > 0 and step % self._snapshot_every == 0:
            self.states.memory.remember(point)
        if best or (self._checkpoint_every > 0 and step % self._checkpoint_every == 0):
            self._save(point)
        self.seconds += self.points.ledger.now() - began

    def commit(self, *, good: bool = False) -> bool:
        """Write the present state as a checkpoint, if it is finite and not on disk already.

        Returns:
            Whether it is on disk.
        """
        counters, disk = self.points.ledger.counters, self.states.disk
        if disk is None:
            return False
        # What is on its way there may fail yet.
        disk.flush()
        if disk.holds(counters.update):
            return True
        if not self.check.is_finite():
            what = "the last state is not finite: no checkpoint of it was written"
            self.log.warn(what, counters.step, counters.update)
            return False
        began = self.points.ledger.now()
        self._save(self.points.take(), good=good, wait=True)
        self.seconds += self.points.ledger.now() - began
        return disk.holds(counters.update)

    def write_again(self) -> None:
        """Write over the checkpoint that the run was resumed from: its ladder has begun anew.

        Else a kill before the next checkpoint would bring the halt back.
        """
        disk = self.states.disk
        if disk is not None:
            self._save(self.points.take(), good=disk.is_good(self.points.ledger.counters.update), wait=True)

    def _save(self, point: RestorePoint, *, good: bool = False, wait: bool = False) -> None:
        if self.states.disk is None:
            return
        data, lost = writable(point.data)
        if lost:
            self.log.warn(
                f"batches put back and not used yet: {lost} cannot stand in the checkpoint, and a resume from it goes "
                "on without them: make batches of tensors, numbers and strings in dicts, lists and tuples",
                point.step,
                point.update - 1,
            )
        tree = {
            "moment": {**point.to_tree(), "data": data},
            "policy": self.policy.model_dump(mode="json"),
            "probation": self.states.disk.healthy_steps(),
            **self.points.ledger.state_dict(),
            **self.parts.tree(),
        }
        evaluations, next_batches = self.along.evaluations, self.along.next_batches
        metrics = None if evaluations is None else evaluations.of(point.update)
        self.states.disk.save(point, tree, good=good, wait=wait, metrics=metrics)
        if next_batches is not None:
            next_batches.follows(point.update)
