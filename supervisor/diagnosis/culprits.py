"""Searches for the few positions at fault, by asking about some of them at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

__all__ = ["at_most", "find_culprits", "find_each"]

MOST_PARTS = 4
"""Into how many parts the whole is cut at most to find one that is healthy by itself."""


def at_most(count: int) -> int:
    """How many of `count` may be at fault: a quarter, one at least; where it is more, they are not the cause."""
    return max(1, count // 4)


def find_each(count: int, spoils: Callable[[Sequence[int]], bool], *, most_tests: int) -> tuple[int, ...]:
    """The positions of which each by itself spoils whatever it is in; empty where they cannot all be told.

    Groups are cut in two, and only those that are spoilt are looked at further: one in n costs about as much as all of
    them twice. A single one is asked about beside one that is known to be sound: a `BatchNorm` takes no single sample.
    Where more are spoilt than `at_most` allows, they are not the cause, which shows early.

    Args:
        count: positions 0 to `count` - 1, spoilt all together.
        spoils: whether the given positions, in order, are spoilt.
        most_tests: how often it may be asked.
    """
    groups, sound, asked = [list(range(count))], list[int](), 0

    def is_spoilt(group: list[int]) -> bool:
        nonlocal asked
        asked += 1
        if asked > most_tests:
            return True
        beside = sound[:1] if len(group) == 1 else []
        if spoils(sorted([*group, *beside])):
            return True
        sound.extend(group)
        return False

    # Level by level, so that it shows early where too many are spoilt for any of them to be the cause.
    while any(len(group) > 1 for group in groups):
        spoilt: list[list[int]] = []
        for group in groups:
            left, right = group[: len(group) // 2], group[len(group) // 2 :]
            if not left:
                spoilt.append(group)
            elif not is_spoilt(left):
                # What spoils the group is in its other half.
                spoilt.append(right)
            else:
                spoilt += [left, right] if is_spoilt(right) else [left]
        if asked > most_tests or len(spoilt) > at_most(count):
            return ()
        groups = spoilt
    return tuple(position for group in groups for position in group)


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
