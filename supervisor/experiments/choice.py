"""Which cure is chosen, from the losses of their forks alone."""

from __future__ import annotations

import math
from collections.abc import Mapping

__all__ = ["KEEP", "chosen_cure"]

OF_THE_WAY = 2.5
"""How many times the tolerance counts for the way that a loss has come down: a look of some tens of updates favours low
rates, which are behind later."""

KEEP = "keep"
"""The fork whose set-up stays as it is."""


def chosen_cure(
    scores: Mapping[str, float], *, improve: float, tolerance: float, start: float | None = None
) -> str | None:
    """The first cure that is as good as the best, if it is clearly better than changing nothing.

    Losses may be zero or below: shares are of their magnitude. Where it is known from where the loss came down, the
    tolerance is a share of the way that the best one has come, if that is more: after a few updates, the half of a
    small loss is no reason to intrude further.

    Args:
        scores: the loss of each fork, `keep` among them, in the order of the list; infinity where it failed.
        improve: the share by which a cure has to be better than `keep`.
        tolerance: the share by which it may be worse than the best.
        start: the loss before any training, None where it is not known.

    Returns:
        Its name; None where changing nothing is as good.
    """
    scores = {name: math.inf if math.isnan(score) else score for name, score in scores.items()}
    best = min(scores.values(), default=math.inf)
    if not math.isfinite(best):
        return None
    way = 0.0 if start is None or not math.isfinite(start) else start - best
    slack = tolerance * max(abs(best), OF_THE_WAY * way)
    first = next(name for name, score in scores.items() if score - best <= slack)
    keep, gain = scores.get(KEEP, math.inf), scores.get(KEEP, math.inf) - scores[first]
    better = not math.isfinite(keep) or (gain > 0 and gain >= improve * abs(keep))
    return first if first != KEEP and better else None
