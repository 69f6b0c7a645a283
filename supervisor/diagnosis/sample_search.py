"""Which samples of a batch are at fault: by their values, or because the step is healthy without them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from supervisor.diagnosis.culprits import at_most, find_culprits, find_each
from supervisor.diagnosis.replay import Replays
from supervisor.records import Observation
from supervisor.training.norms import Flaws, flaws
from supervisor.training.samples import bad_samples, keep_samples, sample_count, values_replaced
from supervisor.training.tree import tensors
from supervisor.update import Attempt

__all__ = ["Blame", "SampleSearch"]

BY_VALUE = "not all of its values are finite"
NO_SAMPLE = "the batch itself holds values that are not finite"

RESERVED = 2
"""Replays that the search for samples leaves for what follows it."""


@dataclass(frozen=True, slots=True)
class Blame:
    """The data are at fault.

    Attributes:
        samples: positions along dimension 0, counted through the batches of the update; empty where they cannot be told
            apart.
        why: how that shows.
        finite: whether their values are, so that the state may be at fault as well.
    """

    samples: tuple[int, ...]
    why: str
    finite: bool = False


class _CannotLeaveOut(Exception):
    """The step raises when samples are left out, as one that expects a batch of a certain size."""


@dataclass(frozen=True, slots=True)
class SampleSearch:
    """Looks for the samples at fault in one flagged update.

    Attributes:
        attempt: the update.
        replays: runs it again, with fewer samples.
        is_healthy: whether an observation would not have been flagged.
    """

    attempt: Attempt
    replays: Replays
    is_healthy: Callable[[Observation], bool]

    def flaws(self) -> Flaws:
        """What the batches hold beside finite values."""
        return flaws(tensor for batch in self.attempt.batches for _, tensor in tensors(batch))

    def by_value(self) -> Blame:
        """The samples that hold values that are not finite, where it is known that those do the harm."""
        sizes = self._sizes()
        samples = () if sizes is None else self._bad_positions(sizes)
        return Blame(samples, BY_VALUE if samples else NO_SAMPLE)

    def that_raise(self) -> Blame | None:
        """The samples on which the step raises as it did, each by itself; None where that cannot be told apart."""
        sizes, own = self._sizes(), self.attempt.raised
        if sizes is None or own is None or sum(sizes) < 2:
            return None

        def raises(positions: Sequence[int]) -> bool:
            seen = self._without_others(positions, sizes)
            if seen is not None and (seen.exception, seen.exception_where) == (own.message, own.where):
                return True
            if seen is None or seen.exception is not None:
                raise _CannotLeaveOut
            return False

        return self._alone(sum(sizes), raises, "without {them} the step does not raise")

    def each_alone(self) -> Blame | None:
        """The samples that make the loss or the gradient of whatever they are in not finite; None as above.

        It takes about as long as the step three times, where `to_blame` may take much longer.
        """
        sizes = self._sizes()
        if sizes is None or sum(sizes) < 2:
            return None

        def seen_of(positions: Sequence[int]) -> Observation:
            seen = self._without_others(positions, sizes)
            if seen is None or seen.exception is not None:
                raise _CannotLeaveOut
            return seen

        def spoils(positions: Sequence[int]) -> bool:
            return not self.is_healthy(seen_of(positions))

        def better(rest: Sequence[int]) -> bool:
            return self._much_better(seen_of(rest))

        return self._alone(sum(sizes), spoils, "without {them} the step is healthy", better)

    def _alone(
        self,
        total: int,
        spoils: Callable[[Sequence[int]], bool],
        why: str,
        better: Callable[[Sequence[int]], bool] | None = None,
    ) -> Blame | None:
        try:
            found = find_each(total, spoils, most_tests=self.replays.left - 1)
            rest = [position for position in range(total) if position not in set(found)]
            if not found or not rest or len(found) > at_most(total):
                return None
            if spoils(rest) if better is None else not better(rest):
                return None
        except _CannotLeaveOut:
            return None
        return Blame(found, why.format(them="them" if len(found) > 1 else "it"))

    def _sizes(self) -> list[int] | None:
        counts = [sample_count(batch) for batch in self.attempt.batches]
        sizes = [count for count in counts if count is not None]
        return sizes if len(sizes) == len(counts) else None

    def _without_others(self, positions: Sequence[int], sizes: Sequence[int]) -> Observation | None:
        """What the step measures on some of its samples; None where it is none at all."""
        starts = [sum(sizes[:index]) for index in range(len(sizes))]
        kept = [
            keep_samples(batch, here)
            for batch, start, size in zip(self.attempt.batches, starts, sizes, strict=True)
            if (here := [p - start for p in positions if start <= p < start + size])
        ]
        return self.replays.run(kept) if kept else None

    def to_blame(self) -> Blame | None:
        """The samples at fault, found by running the step without some of them; None where no few of them are."""
        sizes = self._sizes()
        if sizes is None:
            return self._bad_values(None)
        total = sum(sizes)
        by_value = self._bad_positions(sizes)

        def healthy(positions: Sequence[int]) -> bool:
            seen = self._without_others(positions, sizes)
            return seen is not None and self._much_better(seen)

        rest = [position for position in range(total) if position not in set(by_value)]
        try:
            if by_value and rest and healthy(rest):
                return Blame(by_value, BY_VALUE)
            if len(by_value) > at_most(total):
                found = self._bad_values(by_value)
                if found is not None:
                    return found
            culprits = find_culprits(total, healthy, most_tests=self.replays.left - RESERVED) if total > 1 else ()
        except _CannotLeaveOut:
            return self._bad_values(by_value)
        if not culprits:
            return None
        them, their = ("them", "their") if len(culprits) > 1 else ("it", "its")
        finite = set(culprits).isdisjoint(by_value)
        though = f", though {their} values are finite" if finite else ""
        return Blame(culprits, f"without {them} the step is healthy{though}", finite)

    def _bad_values(self, samples: tuple[int, ...] | None) -> Blame | None:
        """Too many samples hold bad values to be left out: are the values at fault, or are they as usual?"""
        held = self.flaws()
        if not held:
            return None
        if "nan" not in held:
            mended = self.replays.run([values_replaced(batch) for batch in self.attempt.batches])
            if mended.exception is not None or not self.is_healthy(mended):
                # Infinities that change nothing, as in a mask.
                return None
        return Blame(samples or (), NO_SAMPLE)

    def _bad_positions(self, sizes: Sequence[int]) -> tuple[int, ...]:
        """The samples with values that are not finite, counted through the batches of the update."""
        starts = [sum(sizes[:index]) for index in range(len(sizes))]
        return tuple(
            start + position
            for start, batch in zip(starts, self.attempt.batches, strict=True)
            for position in bad_samples(batch)
        )

    def _much_better(self, observation: Observation) -> bool:
        """Healthy, and where a value was merely too large, at least half-way back to the typical one.

        Otherwise whatever lies just beyond a threshold would be blamed on its largest samples.
        """
        if observation.exception is not None:
            raise _CannotLeaveOut
        if not self.is_healthy(observation):
            return False
        for signal in self.attempt.signals:
            for quantity, value in (("loss", observation.loss), ("grad_norm", observation.grad_norm)):
                worst, typical = signal.details.get(quantity), signal.details.get("median")
                if isinstance(worst, float) and isinstance(typical, float) and value * value > worst * typical:
                    return False
        return True
