"""One supervised update: begun, judged after its backward pass, settled after its optimizer has stepped."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class SupervisedStep:
    """Takes an attempt from one end to the other.

    Attributes:
        policy: says which findings are merely observed.
        points: the training objects, the data and the ledger.
        executor: carries the update out.
        detectors: say what is wrong with it.
        canaries: keep the batches that proved healthy on a snapshot.
        continuation: lets the run go on after a healthy update.
        discarding: answers a flagged one.
    """

    policy: RecoveryPolicy
    points: RestorePoints
    executor: Executor
    detectors: Detectors
    canaries: Canaries
    continuation: Continuation
    discarding: Discarding

    def begin(self, batches: tuple[Any, ...]) -> Attempt:
        """Begin an update on these batches: what a forward pass can change is copied, and gradients are gone."""
        started = self.points.ledger.now()
        before = self.executor.begin()
        data = self.points.data
        drawn = data.handed(batches)
        attempt = Attempt(self.points.ledger.begin(data.batch_number), batches, before, started, drawn)
        if self.canaries.memory.last_remembered == attempt.place.update:
            self.canaries.begin(attempt)
        return attempt

    def judge(self, attempt: Attempt, loss: Tensor | None, error: Exception | None) -> Verdict:
        """Measure the update and let it pass, or discard it and recover.

        An exception that is no `Exception` passes through, with the attempt still begun, so that it can be given up.
        """
        attempt.signals = self.detectors.inspect(self.executor.measured(attempt, loss, error))
        setup = self.discarding.setup
        if setup is not None and attempt.raised is None and not self.policy.acted_on(attempt.signals):
            attempt.signals += setup.asked(attempt)
        healthy = not attempt.signals or not self.policy.acted_on(attempt.signals)
        healthy = healthy or self.continuation.experimenter.tries(attempt)
        if healthy and not self.continuation.experimenter.suspect(attempt):
            self.executor.prepare(attempt)
            if attempt.raised is None:
                attempt.phase = Phase.PASSED
                return PROCEED
        self.points.data.used()
        attempt.phase = Phase.ENDED
        return self.discarding.discard(attempt)

    def applying(self, attempt: Attempt) -> Applying:
        """The block in which the optimizer steps."""
        self.points.data.used()
        attempt.phase, attempt.undone = Phase.STEPPING, False
        rate, attempt.cut = self.detectors.rate.factor(attempt.seen.lr), self.points.ledger.lr_scale
        scale = attempt.cut * self.executor.lr_factor * rate
        return Applying(None if scale == 1.0 else self.executor.applying(scale), attempt, self.executor.raised_in)

    def settle(self, attempt: Attempt) -> Verdict:
        """Look at what the optimizer made of it where that is due, then accept it, or recover from it."""
        executor, attempt.phase = self.executor, Phase.ENDED
        if attempt.raised is None:
            executor.after_update(attempt)
        if attempt.raised is not None or self.continuation.check_due(attempt):
            executor.check_state(attempt)
            attempt.signals = self.detectors.inspect(attempt.seen)
            self.continuation.experimenter.without_extremes(attempt)
            if attempt.signals and self.policy.acted_on(attempt.signals):
                return self.discarding.discard(attempt)
            if not self.continuation.experimenter.judge_state(attempt):
                return self.discarding.discard(attempt)
        on_trial = len(attempt.suspicions) > 0
        if on_trial and not self.continuation.experimenter.judge_trial(attempt):
            return self.discarding.discard(attempt)
        # An odd batch that stands is no measure of others.
        if attempt.copied_batches is not None and not (on_trial or attempt.odd):
            self.canaries.healthy(attempt)
        return Verdict(apply=False, outcome=self.continuation.accept(attempt))

    def give_up(self, attempt: Attempt) -> None:
        """End an update that was broken off before its optimizer stepped, as if its batch had never been drawn."""
        attempt.phase = Phase.ENDED
        self.executor.give_up(attempt)
        self.points.data.taken_from(attempt.batches)
        self.points.ledger.cancel(attempt.place)


@dataclass(slots=True)
class Applying:
    """Scales the learning rates for its block, and keeps what the user's code raises in it for `settle` to answer.

    Attributes:
        scaled: scales the learning rates; None where there is nothing to scale.
        attempt: the update.
        raised: puts an exception into it.
    """

    scaled: AbstractContextManager[object] | None
    attempt: Attempt
    raised: Callable[[Attempt, Exception], None]

    def __enter__(self) -> None:
        if self.scaled is not None:
            self.scaled.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if self.scaled is not None:
            self.scaled.__exit__(kind, error, trace)
        if error is None:
            return False
        if isinstance(error, Exception):
            self.raised(self.attempt, error)
            return True
        # An interrupt passes through, and leaves the update half applied.
        self.attempt.phase = Phase.ENDED
        return False
