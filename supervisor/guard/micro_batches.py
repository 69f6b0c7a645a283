"""Which micro-batches of a discarded update are at fault, and which may be used again."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from supervisor.records import SignalName
from supervisor.signals import Detectors
from supervisor.training.state import Subject
from supervisor.training.tree import tensors
from supervisor.update import Attempt, Executor

__all__ = ["MicroBatchJudge"]

TELLING = frozenset(
    {
        SignalName.STEP_EXCEPTION,
        SignalName.NONFINITE_BUFFER,
        SignalName.NONFINITE_LOSS,
        SignalName.NONFINITE_GRADIENT,
        SignalName.GRADIENT_OVERFLOW,
    }
)
"""Findings that one batch by itself can bring about, and that need no window of earlier values to be told."""


@dataclass(frozen=True, slots=True)
class MicroBatchJudge:
    """Runs the micro-batches of a discarded update again, one at a time, from the state before it.

    A bad one is undone at once, so that the next is judged as if it had never been seen. No gradient scaler takes part:
    an overflow that only the loss scale brings about is no batch's fault, and the scale must not move.

    Attributes:
        subject: the training objects, as they were before the update.
        executor: runs a micro-batch.
        detectors: say what is wrong with it; their windows stay as they are.
    """

    subject: Subject
    executor: Executor
    detectors: Detectors

    def judge(self, attempt: Attempt) -> None:
        """Find those at fault, and those that may be used again. Afterwards everything is as it was, gradients gone.

        Nothing is found where the state was bad before them, where the update is one batch, or where it cannot be run
        again. None can be used again when none is at fault, for then all were discarded for what they are together, or
        when the loss writes to its batch.
        """
        seen = attempt.seen
        poisoned = seen.bad_parameters or seen.bad_optimizer_state
        telling = not {signal.name for signal in attempt.signals}.isdisjoint(TELLING)
        if len(attempt.batches) == 1 or poisoned or not telling or self.executor.no_replay is not None:
            return
        before = self.subject.capture_volatile()
        at_fault, good, written = [], [], False
        for position, batch in enumerate(attempt.batches):
            this = self.subject.capture_volatile()
            versions = _versions(batch)
            observation = self.executor.replay_one(batch, attempt.place)
            if {signal.name for signal in self.detectors.inspect(observation)} & TELLING:
                at_fault.append(position)
                self.subject.restore_volatile(this)
            else:
                good.append(position)
                written = written or _versions(batch) != versions
        self.subject.drop_gradients()
        self.subject.restore_volatile(before)
        attempt.at_fault = tuple(at_fault)
        attempt.reusable = tuple(good) if at_fault and not written else ()
        attempt.observation = replace(seen, bad_batches=attempt.at_fault)
        attempt.signals = self.detectors.inspect(attempt.observation)


def _versions(batch: Any) -> list[int]:
    """How often each tensor of the batch was written to."""
    return [0 if tensor.is_inference() else tensor._version for _, tensor in tensors(batch)]
