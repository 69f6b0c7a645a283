"""Which samples of a batch are at fault: by their values, or because the step is healthy without them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from supervisor.diagnosis.replay import Replays
from supervisor.records import Observation
from supervisor.training.norms import Flaws, flaws
from supervisor.training.samples import bad_samples, keep_samples, sample_count, values_replaced
from supervisor.training.tree import tensors
from supervisor.update import Attempt

__all__ = ["Blame", "SampleSearch", "at_most", "find_culprits", "find_each"]

BY_VALUE = "not all of its values are finite"
NO_SAMPLE = "the batch itself holds values that are not finite"

RESERVED = 2
"""Replays that the search for samples leaves for what follows it."""


MOST_PARTS = 4
"""Into how many parts the whole is cut at most to find one that is healthy by itself."""


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

        def spoils(positions: Sequence[int]) -> bool:
            seen = self._without_others(positions, sizes)
            if seen is None or seen.exception is not None:
                raise _CannotLeaveOut
            return not self.is_healthy(seen)

        return self._alone(sum(sizes), spoils, "without {them} the step is healthy")

    def _alone(self, total: int, spoils: Callable[[Sequence[int]], bool], why: str) -> Blame | None:
        try:
            found = find_each(total, spoils, most_tests=self.replays.left - 1)
            rest = [position for position in range(total) if position not in set(found)]
            if not found or not rest or len(found) > at_most(total) or spoils(rest):
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
        return Blame(
            culprits, f"without {them} the step is healthy{f', though {their} values are finite' if finite else ''}"
        )

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


def at_most(count: int) -> int:
    """How many of `count` may be at fault: a quarter, one at least; where it is more, they are not the cause."""
    return max(1, count // 4)


def find_each(count: int, spoils: Callable[[Sequence[int]], bool], *, most_tests: int) -> tuple[int, ...]:
    """The positions of which each by itself spoils whatever it is in; empty where they cannot all be told.

    Groups are cut in two, and only those that are spoilt are looked at further: one in n costs about as much as all of
    them twice. A single one is asked about beside one that is known to be sound: a `BatchNorm` takes no single sample.

    Args:
        count: positions 0 to `count` - 1, spoilt all together.
        spoils: whether the given positions, in order, are spoilt.
        most_tests: how often it may be asked.
    """
    found: list[int] = []
    sound: list[int] = []
    waiting, asked = [list(range(count))], 0
    while waiting:
        group = waiting.pop()
        if len(group) == 1:
            found += group
            continue
        known = False
        for half in (group[: len(group) // 2], group[len(group) // 2 :]):
            if not known and asked >= most_tests:
                return ()
            asked += not known
            # Where the first half is sound, what spoils the group is in the other.
            if known or spoils(sorted([*half, *(sound[:1] if len(half) == 1 else ())])):
                waiting.append(half)
            else:
                sound += half
                known = True
    return tuple(sorted(found))


def find_culprits(count: int, is_healthy: Callable[[Sequence[int]], bool], *, most_tests: int) -> tuple[int, ...]:
    """The positions that must be left out for the rest to be healthy; empty when no few of them are at fault.

    A healthy part is looked for first, in halves, then in quarters; then it is grown by what is left, in groups
    that are cut in two where they spoil it. What remains outside has been found guilty, and the rest has been found
    healthy together. A fault that needs no particular position is unhealthy in every part, which is told soon.

    Args:
        count: positions 0 to `count` - 1, unhealthy all together.
        is_healthy: whether the given positions, in order, are healthy without the others.
        most_tests: how often it may be asked; what is undecided by then counts as guilty.
    """
    left_to_ask = most_tests

    def ask(positions: Sequence[int]) -> bool:
        nonlocal left_to_ask
        left_to_ask -= 1
        return left_to_ask >= 0 and is_healthy(positions)

    healthy = _healthy_part(count, ask)
    if healthy is None:
        return ()
    guilty: list[int] = []
    outside = [position for position in range(count) if position not in set(healthy)]
    groups = [outside]
    known_guilty = {tuple(outside)}
    while groups:
        group = groups.pop()
        sure = tuple(group) in known_guilty
        if not sure and ask(sorted({*healthy, *group})):
            healthy = sorted({*healthy, *group})
            continue
        if len(group) == 1 or left_to_ask <= 0:
            guilty += group
            if len(guilty) > at_most(count):
                return ()
            continue
        left, right = group[: len(group) // 2], group[len(group) // 2 :]
        if ask(sorted({*healthy, *left})):
            # The fault of the group must then lie in its other half.
            healthy = sorted({*healthy, *left})
            known_guilty.add(tuple(right))
            groups.append(right)
        else:
            known_guilty.add(tuple(left))
            groups += [right, left]
    return tuple(sorted(guilty)) if len(guilty) <= at_most(count) else ()


def _healthy_part(count: int, ask: Callable[[Sequence[int]], bool]) -> list[int] | None:
    parts = 2
    while parts <= min(count, MOST_PARTS):
        for part in _parts(count, parts):
            if ask(part):
                return part
        parts *= 2
    return None


def _parts(count: int, parts: int) -> Iterator[list[int]]:
    cuts = [count * index // parts for index in range(parts + 1)]
    return (list(range(start, end)) for start, end in pairwise(cuts) if start < end)
