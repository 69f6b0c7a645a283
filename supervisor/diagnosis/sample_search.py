"""Which samples of a batch are at fault: by their values, or because the step is healthy without them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from supervisor.diagnosis.flaws import Flaws, flaws
from supervisor.diagnosis.replay import Replays
from supervisor.diagnosis.search import at_most, find_culprits
from supervisor.records import Observation
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
    """

    samples: tuple[int, ...]
    why: str


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
        counts = [sample_count(batch) for batch in self.attempt.batches]
        samples = () if None in counts else self._bad_positions([count for count in counts if count is not None])
        return Blame(samples, BY_VALUE if samples else NO_SAMPLE)

    def to_blame(self) -> Blame | None:
        """The samples at fault, found by running the step without some of them; None where no few of them are."""
        counts = [sample_count(batch) for batch in self.attempt.batches]
        sizes = [count for count in counts if count is not None]
        if len(sizes) < len(counts):
            return self._bad_values(None)
        total = sum(sizes)
        starts = [sum(sizes[:index]) for index in range(len(sizes))]
        by_value = self._bad_positions(sizes)

        def healthy(positions: Sequence[int]) -> bool:
            kept = [
                keep_samples(batch, here)
                for batch, start, size in zip(self.attempt.batches, starts, sizes, strict=True)
                if (here := [p - start for p in positions if start <= p < start + size])
            ]
            return bool(kept) and self._much_better(self.replays.run(kept))

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
        why = "without them the step is healthy" if len(culprits) > 1 else "without it the step is healthy"
        return Blame(culprits, f"{why}, though their values are finite" if not by_value else why)

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
