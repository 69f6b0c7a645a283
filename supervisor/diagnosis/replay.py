"""Running a flagged step again from the state just before it, leaving no trace of having done so."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

from torch import Tensor

from supervisor.diagnosis.probe import Probe
from supervisor.diagnosis.trace import Trace
from supervisor.records import Observation
from supervisor.training.state import Subject, VolatileState
from supervisor.training.tree import clone
from supervisor.update import Executor, Place

__all__ = ["DiagnosisFailed", "Replays", "ReplaysSpent"]


class DiagnosisFailed(Exception):
    """A diagnosis could not find out; the message says why."""


class ReplaysSpent(DiagnosisFailed):
    """As many replays were run as the policy allows."""


class Replays:
    """Runs one flagged step again and again.

    Args:
        subject: the training objects; their parameters are those of before the step.
        executor: runs forward, backward and the measurement.
        before: the rest of the state before the step.
        scaler: `state_dict` of the gradient scaler before the step, None without one.
        place: where the step stands in the run.
        most: how many replays may be run.

    Attributes:
        done: how many were run.
    """

    def __init__(
        self, subject: Subject, executor: Executor, before: VolatileState, scaler: Any, place: Place, *, most: int
    ) -> None:
        self.done = 0
        self._subject = subject
        self._executor = executor
        self._before = before
        self._scaler = scaler
        self._place = place
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
            DiagnosisFailed: the step cannot be run again.
            ReplaysSpent: no more replays may be run.
        """
        if self._executor.no_replay is not None:
            raise DiagnosisFailed(self._executor.no_replay)
        if self.left <= 0:
            raise ReplaysSpent(f"its {self._most} replays are spent")
        self.done += 1
        self._subject.restore_volatile(self._before)
        self._put_scaler(self._scaler)
        if trace is None:
            return self._executor.replay(batches, self._place)
        with trace.watching():
            return self._executor.replay(batches, self._place, trace.loss)

    def gradients(self) -> dict[str, Tensor]:
        """The gradients of the last replay, by parameter."""
        return {name: p.grad for p, name in self._subject.names.items() if p.grad is not None}

    def _put_scaler(self, state: Any) -> None:
        scaler = self._subject.scaler
        if scaler is not None and state is not None:
            scaler.load_state_dict(clone(state))
