"""Which micro-batches of a discarded update are at fault, and which may be used again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from supervisor.guard.update import Update, UpdateRunner
from supervisor.records import SignalName
from supervisor.signals import Detectors
from supervisor.training.state import Subject
from supervisor.training.tree import tensors

__all__ = ["TELLING", "MicroBatchJudge", "Verdict"]

TELLING = frozenset(
    {
        SignalName.STEP_EXCEPTION,
        SignalName.NONFINITE_BUFFER,
        SignalName.NONFINITE_LOSS,
        SignalName.NONFINITE_GRADIENT,
        SignalName.GRADIENT_OVERFLOW,
    }
)
"""Findings that one batch by itself can bring about and that need no window: a spike of the sum has no one author."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a second look came to.

    Attributes:
        at_fault: positions in the update, from 0, of the micro-batches that are bad by themselves.
        reusable: positions of the others, where using them again is exact.
    """

    at_fault: tuple[int, ...] = ()
    reusable: tuple[int, ...] = ()


class MicroBatchJudge:
    """Runs the micro-batches of a discarded update again, one at a time, from the state before it.

    A bad one is undone at once, so that the next is judged as if it had never been seen. No gradient scaler takes part:
    an overflow that only the loss scale brings about is no batch's fault, and the scale must not move.

    Args:
        subject: the training objects, as they were before the update.
        runner: runs a micro-batch.
        panel: says what is wrong with it; its windows stay as they are.
    """

    def __init__(self, subject: Subject, runner: UpdateRunner, panel: Detectors) -> None:
        self._subject = subject
        self._runner = runner
        self._panel = panel

    def judge(self, batches: Sequence[Any], place: Update) -> Verdict:
        """Find those at fault. Afterwards everything is as it was, gradients gone.

        None of them can be used again when none is at fault, for then all were discarded for what they are together,
        or when the loss writes to its batch.
        """
        before = self._subject.capture_volatile()
        at_fault, good, written = [], [], False
        for position, batch in enumerate(batches):
            this = self._subject.capture_volatile()
            versions = _versions(batch)
            observation = self._runner.observe_again(batch, place)
            if {signal.name for signal in self._panel.inspect(observation)} & TELLING:
                at_fault.append(position)
                self._subject.restore_volatile(this)
            else:
                good.append(position)
                written = written or _versions(batch) != versions
        self._subject.drop_gradients()
        self._subject.restore_volatile(before)
        exact = bool(at_fault) and not written
        return Verdict(tuple(at_fault), tuple(good) if exact else ())


def _versions(batch: Any) -> list[int]:
    """How often each tensor of the batch was written to."""
    return [0 if tensor.is_inference() else tensor._version for _, tensor in tensors(batch)]
