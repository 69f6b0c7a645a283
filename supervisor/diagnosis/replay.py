"""Running a flagged step again from the state just before it, leaving no trace of having done so."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

from torch import Tensor

from supervisor.diagnosis.probe import Probe
from supervisor.diagnosis.trace import Trace
from supervisor.records import Observation
from supervisor.training.state import Subject, VolatileState
from supervisor.training.tree import clone

__all__ = ["DiagnosisFailed", "Observe", "Replays", "ReplaysSpent"]

LossFunction = Callable[[Any], Tensor]


class Observe(Protocol):
    """Forward, backward and one measurement of an update, as the guard does them."""

    def __call__(self, batches: Sequence[Any], watched: Callable[[LossFunction], LossFunction] | None) -> Observation:
        """The observation of an update on `batches`, the loss function wrapped by `watched` where one is given."""
        ...


class DiagnosisFailed(Exception):
    """A diagnosis could not find out; the message says why."""


class ReplaysSpent(DiagnosisFailed):
    """As many replays were run as the policy allows."""


class Replays:
    """Runs one flagged step again and again.

    Args:
        subject: the training objects; their parameters are those of before the step.
        before: the rest of the state before the step.
        scaler: `state_dict` of the gradient scaler before the step, None without one.
        observe: runs forward, backward and the measurement.
        most: how many replays may be run.

    Attributes:
        done: how many were run.
    """

    def __init__(self, subject: Subject, before: VolatileState, scaler: Any, observe: Observe, *, most: int) -> None:
        self.done = 0
        self._subject = subject
        self._before = before
        self._scaler = scaler
        self._observe = observe
        self._most = most

    @property
    def left(self) -> int:
        """Replays that may still be run."""
        return self._most - self.done

    @contextlib.contextmanager
    def undone(self) -> Iterator[None]:
        """Whatever is run inside, everything is afterwards what it was when the block was entered."""
        scaler = self._subject.scaler
        after = None if scaler is None else clone(scaler.state_dict())
        try:
            yield
        finally:
            if self.done:
                self._subject.drop_gradients()
                self._subject.restore_volatile(self._before)
                self._put_scaler(after)

    def run(self, batches: Sequence[Any], trace: Trace | Probe | None = None) -> Observation:
        """One replay; its gradients stay where they are until the next one.

        Raises:
            ReplaysSpent: no more may be run.
        """
        if self.left <= 0:
            raise ReplaysSpent(f"its {self._most} replays are spent")
        self.done += 1
        self._subject.restore_volatile(self._before)
        self._put_scaler(self._scaler)
        if trace is None:
            return self._observe(batches, None)
        with trace.watching():
            return self._observe(batches, trace.loss)

    def gradients(self) -> dict[str, Tensor]:
        """The gradients of the last replay, by parameter."""
        return {name: p.grad for p, name in self._subject.names.items() if p.grad is not None}

    def _put_scaler(self, state: Any) -> None:
        scaler = self._subject.scaler
        if scaler is not None and state is not None:
            scaler.load_state_dict(clone(state))
