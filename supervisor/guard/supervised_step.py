"""One supervised update: begun, judged after its backward pass, settled after its optimizer has stepped."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any

from torch import Tensor

from supervisor.guard.continuation import Continuation
from supervisor.guard.discarding import Discarding
from supervisor.guard.outcome import PROCEED, Verdict
from supervisor.policy import RecoveryPolicy
from supervisor.signals import Detectors
from supervisor.states import Canaries, RestorePoints
from supervisor.update import Attempt, Executor, Phase

__all__ = ["SupervisedStep"]


class SupervisedStep:
    """Takes an attempt from one end to the other.

    Args:
        policy: says which findings are merely observed.
        points: the training objects, the data and the ledger.
        executor: carries the update out.
        detectors: say what is wrong with it.
        canaries: keep the batches that proved healthy on a snapshot.
        continuation: lets the run go on after a healthy update.
        discarding: answers a flagged one.
    """

    def __init__(
        self,
        policy: RecoveryPolicy,
        points: RestorePoints,
        executor: Executor,
        detectors: Detectors,
        canaries: Canaries,
        continuation: Continuation,
        discarding: Discarding,
    ) -> None:
        self._causes = policy.causes
        self._data = points.data
        self._ledger = points.ledger
        self._executor = executor
        self._detectors = detectors
        self._canaries = canaries
        self._continuation = continuation
        self._discarding = discarding

    def begin(self, batches: tuple[Any, ...]) -> Attempt:
        """Begin an update on these batches: what a forward pass can change is copied, and gradients are gone."""
        started = self._ledger.now()
        before = self._executor.begin()
        self._data.handed(len(batches))
        place = self._ledger.begin(self._data.batch_number)
        attempt = Attempt(place, batches, before, started, self._data.gave(batches))
        self._canaries.begin(attempt)
        return attempt

    def judge(self, attempt: Attempt, loss: Tensor | None, error: Exception | None) -> Verdict:
        """Measure the update and let it pass, or discard it and recover.

        An exception that is no `Exception` passes through, with the attempt still begun, so that it can be given up.
        """
        self._executor.measured(attempt, loss, error)
        attempt.signals = self._detectors.inspect(attempt.seen)
        if not attempt.signals or not self._causes(attempt.signals):
            self._executor.prepare(attempt)
            if attempt.raised is None:
                attempt.phase = Phase.PASSED
                return PROCEED
        self._data.used()
        return self._discarding.discard(attempt)

    def applying(self, attempt: Attempt) -> Applying:
        """The block in which the optimizer steps."""
        self._data.used()
        attempt.phase = Phase.STEPPING
        return Applying(self._executor.applying(self._ledger.lr_scale), attempt, self._executor.raised_in)

    def settle(self, attempt: Attempt) -> Verdict:
        """Look at what the optimizer made of it where that is due, then accept it, or recover from it."""
        executor = self._executor
        if attempt.raised is None:
            executor.after_update(attempt)
        if attempt.raised is not None or self._continuation.check_due(attempt):
            executor.check_state(attempt)
            attempt.signals = self._detectors.inspect(attempt.seen)
            if attempt.signals and self._causes(attempt.signals):
                return self._discarding.discard(attempt)
        attempt.phase = Phase.ENDED
        self._canaries.healthy(attempt)
        return Verdict(apply=False, outcome=self._continuation.accept(attempt))

    def give_up(self, attempt: Attempt) -> None:
        """End an update that was broken off before its optimizer stepped, as if its batch had never been drawn."""
        attempt.phase = Phase.ENDED
        self._executor.give_up(attempt)
        self._data.handed(-len(attempt.batches))
        self._ledger.cancel(attempt.place)


class Applying:
    """Scales the learning rates for its block, and keeps what the user's code raises in it for `settle` to answer.

    Args:
        scaled: scales the learning rates.
        attempt: the update.
        raised: puts an exception into it.
    """

    def __init__(
        self,
        scaled: AbstractContextManager[object],
        attempt: Attempt,
        raised: Callable[[Attempt, Exception], None],
    ) -> None:
        self._scaled = scaled
        self._attempt = attempt
        self._raised = raised

    def __enter__(self) -> None:
        self._scaled.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        self._scaled.__exit__(kind, error, trace)
        if error is None:
            return False
        if isinstance(error, Exception):
            self._raised(self._attempt, error)
            return True
        # An interrupt passes through, and leaves the update half applied.
        self._attempt.phase = Phase.ENDED
        return False
