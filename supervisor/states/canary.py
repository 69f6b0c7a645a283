"""State, data or machine: the first healthy batch after a snapshot, tried again when the snapshot was put back.

The loss of that batch was computed from the snapshot itself, so it costs nothing to know. The same batch from the same
state must give the same loss to the bit; where it does, what fails next is the data's doing.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from supervisor.diagnosis import DiagnosisFailed, Overrun, Replays, time_limit
from supervisor.events import EventLog
from supervisor.events.schema import CanaryEvent
from supervisor.guard.update import Update, UpdateRunner
from supervisor.policy import RecoveryPolicy
from supervisor.records import Observation
from supervisor.training.state import Subject, VolatileState
from supervisor.training.tree import clone, comes_back

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
    """A batch and the state beside the parameters in which its loss was computed."""

    update: int
    batch: Any
    before: VolatileState
    loss: float = 0.0


class Canaries:
    """Keeps a canary for each snapshot in memory.

    Args:
        policy: whether anything is looked into at all, and for how long.
        subject: the training objects.
        runner: runs the batch again.
        log: hears the verdicts.
    """

    def __init__(self, policy: RecoveryPolicy, subject: Subject, runner: UpdateRunner, log: EventLog) -> None:
        self._policy = policy
        self._subject = subject
        self._runner = runner
        self._log = log
        self._kept: dict[int, Canary] = {}

    def candidate(self, update: int, batch: Any, before: VolatileState) -> Canary | None:
        """The batch of the first update after a snapshot, copied since its loss may change it; None for odd batches."""
        if not self._policy.diagnose.enabled or not comes_back(batch):
            return None
        return Canary(update, clone(batch), before)

    def keep(self, canary: Canary, loss: float, updates: Iterable[int]) -> None:
        """Keep the batch of an update that proved healthy.

        Args:
            canary: the candidate.
            loss: what it gave.
            updates: of the snapshots that are still in memory; the canaries of others are let go.
        """
        alive = set(updates)
        kept = {**self._kept, canary.update: Canary(canary.update, canary.batch, canary.before, loss)}
        self._kept = {update: each for update, each in kept.items() if update in alive}

    def try_on(self, update: int, step: int, observation: Observation | None) -> CanaryVerdict | None:
        """Try the canary of a state that was just put back; None where it has none. The state is to be put back anew.

        Args:
            update: tells which state it is.
            step: the state's position in the schedule.
            observation: the flagged update that is answered, for the record.
        """
        canary = self._kept.get(update)
        if canary is None or not self._policy.diagnose.enabled:
            return None
        scaler = None if self._subject.scaler is None else clone(self._subject.scaler.state_dict())
        place = Update(step, update, replayed=True)
        replays = Replays(
            self._subject, canary.before, scaler, lambda batches, _: self._runner.observe(batches[0], place), most=2
        )
        losses: list[float] = []
        present = self._subject.capture_volatile()
        with self._runner.replaying():
            try:
                with replays.undone(), time_limit(self._policy.diagnose.max_seconds):
                    while len(losses) < 2 and canary.loss not in losses:
                        seen = replays.run([clone(canary.batch)])
                        if seen.exception is not None:
                            raise DiagnosisFailed(seen.exception)
                        losses.append(seen.loss)
            except (Overrun, Exception):  # noqa: BLE001  (the user's code may raise anything, which proves nothing)
                losses = []
        self._subject.restore_volatile(present)
        verdict = _verdict(losses, canary.loss)
        self._log.emit(
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
