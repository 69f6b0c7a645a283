"""State, data or machine: the first healthy batch after a snapshot, tried again when the snapshot was put back.

The loss of that batch was computed from the snapshot itself, so it costs nothing to know. The same batch from the same
state must give the same loss to the bit; where it does, what fails next is the data's doing.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import Any

from supervisor.diagnosis import DiagnosisFailed, Overrun, Replays, time_limit
from supervisor.events import EventLog
from supervisor.events.schema import CanaryEvent
from supervisor.policy import RecoveryPolicy
from supervisor.records import Observation
from supervisor.states.good_states import StatesInMemory
from supervisor.training.state import Subject, VolatileState
from supervisor.training.tree import clone, copies
from supervisor.update import Attempt, Executor, Place

__all__ = ["Canaries", "Canary", "CanaryVerdict"]


class CanaryVerdict(enum.StrEnum):
    """What a canary batch says of the state it was tried on."""

    SOUND = "sound"
    """The same loss to the bit."""
    DIFFERENT = "different"
    """Another loss, the same one each time: the state is not what it was, or the machine does not compute as before."""
    UNKNOWN = "unknown"
    """Another loss each time, or none: the program is not deterministic, or the batch could not be tried."""


@dataclass(frozen=True, slots=True)
class Canary:
    """The batches of a healthy update, and the state beside the parameters in which their loss was computed."""

    batches: tuple[Any, ...]
    before: VolatileState
    loss: float


@dataclass(slots=True)
class Canaries:
    """Keeps a canary for each snapshot in memory.

    Attributes:
        policy: whether anything is looked into at all, and for how long.
        subject: the training objects.
        executor: runs the batch again.
        memory: the snapshots.
        log: hears the verdicts.
    """

    policy: RecoveryPolicy
    subject: Subject
    executor: Executor
    memory: StatesInMemory
    log: EventLog
    _kept: dict[int, Canary] = field(default_factory=dict, init=False)

    def begin(self, attempt: Attempt) -> None:
        """Copy the batches of the first update after a snapshot, since its loss may change them.

        Batches that hold what cannot be copied for certain are left alone.
        """
        if self.policy.diagnose.enabled and self.executor.no_replay is None and copies(attempt.batches):
            attempt.copied_batches = clone(attempt.batches)

    def healthy(self, attempt: Attempt) -> None:
        """Keep the copied batches of an update that proved healthy; canaries of snapshots that are gone are let go."""
        if attempt.copied_batches is None:
            return
        update = attempt.place.update
        kept = {**self._kept, update: Canary(attempt.copied_batches, attempt.before, attempt.seen.loss)}
        self._kept = {each: kept[each] for each in self.memory.updates if each in kept}

    def newest(self) -> tuple[Any, ...] | None:
        """The batches of the newest canary, for whoever runs them in another state; None where there is none."""
        return clone(self._kept[max(self._kept)].batches) if self._kept else None

    def try_on(self, update: int, step: int, observation: Observation | None) -> CanaryVerdict | None:
        """Try the canary of a state that was just put back; None where it has none. The state is to be put back anew.

        Args:
            update: tells which state it is.
            step: the state's position in the schedule.
            observation: the flagged update that is answered, for the record.
        """
        canary = self._kept.get(update)
        if canary is None:
            return None
        scaler = None if self.subject.scaler is None else clone(self.subject.scaler.state_dict())
        place = Place(step, update, replayed=True)
        replays = Replays(self.subject, self.executor, canary.before, scaler, place, most=2)
        losses: list[float] = []
        present = self.subject.capture_volatile()
        try:
            with replays.undone(), time_limit(self.policy.diagnose.max_seconds):
                while len(losses) < 2 and canary.loss not in losses:
                    seen = replays.run(clone(canary.batches))
                    if seen.exception is not None:
                        raise DiagnosisFailed(seen.exception)
                    losses.append(seen.loss)
        except (Overrun, Exception):  # noqa: BLE001  (the user's code may raise anything, which proves nothing)
            losses = []
        self.subject.restore_volatile(present)
        verdict = _verdict(losses, canary.loss)
        self.log.emit(
            CanaryEvent(
                step=None if observation is None else observation.step,
                update=None if observation is None else observation.update,
                restored_step=step,
                verdict=verdict.value,
                loss=losses[0] if losses else None,
                expected_loss=canary.loss,
            )
        )
        return verdict


def _verdict(losses: list[float], expected: float) -> CanaryVerdict:
    if losses and losses[0] == expected:
        return CanaryVerdict.SOUND
    # A loss that is not a number equals nothing, itself included; twice so, it is the same answer.
    same = len(losses) == 2 and (losses[0] == losses[1] or all(loss != loss for loss in losses))
    return CanaryVerdict.DIFFERENT if same else CanaryVerdict.UNKNOWN
