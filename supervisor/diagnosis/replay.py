"""Running a flagged step again from the state just before it, leaving no trace of having done so."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from supervisor.diagnosis.probe import Probe
from supervisor.diagnosis.trace import Trace
from supervisor.records import Observation
from supervisor.training.plain_attributes import PlainAttributes
from supervisor.training.state import Subject, VolatileState
from supervisor.training.tree import clone
from supervisor.update import Executor, Place

__all__ = ["DiagnosisFailed", "Replays", "ReplaysSpent"]


class DiagnosisFailed(Exception):
    """A diagnosis could not find out; the message says why."""


class ReplaysSpent(DiagnosisFailed):
    """As many replays were run as the policy allows."""


@dataclass(slots=True)
class Replays:
    """Runs one flagged step again and again.

    Attributes:
        subject: the training objects; their parameters are those of before the step.
        executor: runs forward, backward and the measurement.
        before: the rest of the state before the step.
        scaler: `state_dict` of the gradient scaler before the step, None without one.
        place: where the step stands in the run.
        most: how many replays may be run.
        done: how many were run.
    """

    subject: Subject
    executor: Executor
    before: VolatileState
    scaler: Any
    place: Place
    most: int
    done: int = field(default=0, init=False)
    _attributes: PlainAttributes | None = field(default=None, init=False)

    @property
    def attributes(self) -> PlainAttributes:
        """What the modules keep in plain attributes, as it was before the first replay."""
        if self._attributes is None:
            self._attributes = PlainAttributes(self.subject.model, self.subject.names)
        return self._attributes

    @property
    def left(self) -> int:
        """Replays that may still be run."""
        return self.most - self.done

    @contextlib.contextmanager
    def undone(self) -> Iterator[None]:
        """Whatever is run inside, everything is afterwards what it was when the block was entered."""
        scaler = self.subject.scaler
        after = None if scaler is None else clone(scaler.state_dict())
        try:
            yield
        finally:
            if self.done:
                self.subject.drop_gradients()
                self.attributes.restore()
                self.subject.restore_volatile(self.before)
                self._put_scaler(after)

    def run(self, batches: Sequence[Any], trace: Trace | Probe | None = None, *, go_on: bool = False) -> Observation:
        """One replay; its gradients stay where they are until the next one.

        Args:
            batches: of the step, or some of them.
            trace: watches it.
            go_on: the modules' plain attributes are left as the replay before left them.

        Raises:
            DiagnosisFailed: the step cannot be run again.
            ReplaysSpent: no more replays may be run.
        """
        if self.executor.no_replay is not None:
            raise DiagnosisFailed(self.executor.no_replay)
        if self.left <= 0:
            raise ReplaysSpent("the replays that `diagnose: max_replays` allows an incident are spent")
        self.done += 1
        attributes = self.attributes
        if not go_on:
            attributes.put_back()
        self.subject.restore_volatile(self.before)
        self._put_scaler(self.scaler)
        if trace is None:
            return self.executor.replay(batches, self.place)
        with trace.watching():
            return self.executor.replay(batches, self.place, trace.loss)

    def gradients(self) -> dict[str, Tensor]:
        """The gradients of the last replay, by parameter."""
        return self.subject.gradients()

    def _put_scaler(self, state: Any) -> None:
        scaler = self.subject.scaler
        if scaler is not None and state is not None:
            scaler.load_state_dict(clone(state))
