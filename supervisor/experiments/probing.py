"""Trying canaries on the present state."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from supervisor.diagnosis import Overrun, time_limit
from supervisor.experiments.canaries import Canary
from supervisor.experiments.no_trace import forward_undone
from supervisor.records import Observation
from supervisor.training.rng import restore_rng
from supervisor.training.state import Subject
from supervisor.training.tree import clone, comes_back
from supervisor.update import Executor, Place, Raised
from supervisor.update.attempt import raised_from

__all__ = ["ProbeFailed", "Probing"]

SAME = 1e-3
"""Two losses of the same canary on the same state may differ by so much, relatively."""


class ProbeFailed(Exception):
    """The canaries could not be tried.

    Attributes:
        raised: what the user's code raised, None where it was not that.
    """

    def __init__(self, why: str, raised: Raised | None = None) -> None:
        super().__init__(why)
        self.raised = raised


@dataclass(slots=True)
class Probing:
    """Computes the losses of canaries by forward passes, and leaves no trace of it.

    Attributes:
        subject: the training objects.
        executor: computes a loss.
        seconds: what one look may take.
        passes: forward passes made so far, in batches.
        repeats: whether a canary gives the same loss twice; None before the first time.
        graph: whether the loss needs one, as one that differentiates inside does.
    """

    subject: Subject
    executor: Executor
    seconds: float
    passes: int = field(default=0, init=False)
    repeats: bool | None = field(default=None, init=False)
    graph: bool = field(default=False, init=False)

    def losses(self, canaries: Sequence[Canary]) -> tuple[float, ...]:
        """The loss of each canary on the present state, from the generators that it had.

        The first time each is tried twice.

        Raises:
            ProbeFailed: the loss raises, takes too long, or is another one each time.
        """
        if self.repeats is False:
            raise ProbeFailed("the loss of a batch is another one each time")
        try:
            with forward_undone(self.subject) as undo, time_limit(self.seconds):
                found = self._tried(canaries, undo)
                if self.repeats is None:
                    self.repeats = all(map(_alike, found, self._tried(canaries, undo)))
        except Overrun:
            raise ProbeFailed(f"it took longer than {self.seconds:g} s") from None
        except Exception as error:
            raised = raised_from(error, self.subject.model)
            raise ProbeFailed(f"a batch that was healthy raises {raised.message}", raised) from error
        if not self.repeats:
            raise ProbeFailed("the loss of a batch is another one each time")
        return found

    def backward(self, canary: Canary, place: Place) -> Observation:
        """What one measures on the present state, from the generators that it had. No gradient is left.

        Raises:
            ProbeFailed: it takes too long.
        """
        try:
            with forward_undone(self.subject) as undo, time_limit(self.seconds):
                undo()
                restore_rng(canary.rng)
                batches = [clone(batch) if comes_back(batch) else batch for batch in canary.batches]
                self.passes += len(canary.batches)
                return self.executor.replay(batches, replace(place, replayed=True))
        except Overrun:
            raise ProbeFailed(f"it took longer than {self.seconds:g} s") from None
        finally:
            self.subject.drop_gradients()

    def _tried(self, canaries: Sequence[Canary], undo: Callable[[], None]) -> tuple[float, ...]:
        return tuple([self._tried_one(canary, undo) for canary in canaries])

    def _tried_one(self, canary: Canary, undo: Callable[[], None]) -> float:
        self.passes += len(canary.batches)
        # A loss may write to its batch.
        batches = [clone(batch) if comes_back(batch) else batch for batch in canary.batches]
        undo()
        restore_rng(canary.rng)
        if not self.graph:
            try:
                return self.executor.probe(batches, graph=False)
            except Exception:  # noqa: BLE001  (a loss that differentiates inside raises without a graph)
                undo()
                restore_rng(canary.rng)
                loss = self.executor.probe(batches, graph=True)
                self.graph = True
                return loss
        return self.executor.probe(batches, graph=True)


def _alike(one: float, other: float) -> bool:
    if not (math.isfinite(one) and math.isfinite(other)):
        return math.isfinite(one) == math.isfinite(other)
    return math.isclose(one, other, rel_tol=SAME, abs_tol=1e-12)
