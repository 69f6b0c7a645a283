"""Which states can go: pure, the same rule for memory and disk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Kept", "surplus"]


@dataclass(frozen=True, slots=True)
class Kept:
    """One state that is held.

    Attributes:
        step: steps done when it was taken.
        update: updates attempted by then; tells two states of one step apart, and which is newer.
        good: promoted already.
        healthy_steps: healthy steps in a row since it was taken, while on probation.
    """

    step: int
    update: int
    good: bool
    healthy_steps: int = 0


def surplus(held: Sequence[Kept], keep: int) -> list[Kept]:
    """The states to let go: the good ones beyond the newest `keep`, never the newest good one.

    States on probation stay until they are judged, save those that can no longer matter: of several that wait for
    the same healthy steps, they will be promoted together, so all but the newest `keep` would go at once.

    Args:
        held: the states, in any order.
        keep: how many good ones to keep; at least one is kept where there is one.
    """
    oldest_first = sorted(held, key=lambda kept: kept.update)
    gone = [kept for kept in oldest_first if kept.good][: -max(keep, 1)]
    waiting: dict[int, list[Kept]] = {}
    for kept in oldest_first:
        if not kept.good:
            waiting.setdefault(kept.healthy_steps, []).append(kept)
    for together in waiting.values():
        gone += together[: -max(keep, 1)]
    return gone
