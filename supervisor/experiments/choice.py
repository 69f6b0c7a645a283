"""Which cure is chosen, from the losses of their forks alone."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

__all__ = ["KEEP", "as_good", "chosen_cure"]

OF_THE_WAY = 2.5
"""How many times the tolerance counts for the way that a loss has come down: a look of some tens of updates favours low
rates, which are behind later."""

KEEP = "keep"
"""The fork whose set-up stays as it is."""


def chosen_cure(scores: Mapping[str, float], *, improve: float, close: Sequence[str]) -> str | None:
    """The first of the cures that are as good as the best, if it is clearly better than changing nothing.

    Args:
        scores: the loss of each fork, `keep` among them, in the order of the list; infinity where it failed.
        improve: the share by which a cure has to be better than `keep`. Losses may be zero or below: shares are of
            their magnitude.
        close: what `as_good` gave.

    Returns:
        Its name; None where changing nothing is as good.
    """
    if not close or close[0] == KEEP:
        return None
    keep = scores.get(KEEP, math.inf)
    gain = keep - scores[close[0]]
    better = not math.isfinite(keep) or (gain > 0 and gain >= improve * abs(keep))
    return close[0] if better else None


def as_good(scores: Mapping[str, float], *, tolerance: float, start: float | None = None) -> tuple[str, ...]:
    """The cures that are as good as the best, in the order of the list; none where all failed.

    Where it is known from where the loss came down, the tolerance is a share of the way that the best one has come, if
    that is more: after a few updates, the half of a small loss is no reason to intrude further.

    Args:
        scores: see `chosen_cure`.
        tolerance: the share by which one may be worse than the best.
        start: the loss before any training, None where it is not known.
    """
    finite = {name: score for name, score in scores.items() if math.isfinite(score)}
    if not finite:
        return ()
    best = min(finite.values())
    way = 0.0 if start is None or not math.isfinite(start) else start - best
    slack = tolerance * max(abs(best), OF_THE_WAY * way)
    return tuple(name for name, score in finite.items() if score - best <= slack)
