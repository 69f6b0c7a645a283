"""Which cure is chosen, from the losses of their forks alone."""

from __future__ import annotations

import math
from collections.abc import Mapping

__all__ = ["KEEP", "chosen_cure"]

KEEP = "keep"
"""The fork whose set-up stays as it is."""


def chosen_cure(scores: Mapping[str, float], *, improve: float, tolerance: float) -> str | None:
    """The first cure that is as good as the best, if it is clearly better than changing nothing.

    Losses may be zero or below: shares are of their magnitude.

    Args:
        scores: the loss of each fork, `keep` among them, in the order of the list; infinity where it failed.
        improve: the share by which a cure has to be better than `keep`.
        tolerance: the share by which it may be worse than the best.

    Returns:
        Its name; None where changing nothing is as good.
    """
    best = min(scores.values(), default=math.inf)
    if not math.isfinite(best):
        return None
    first = next(name for name, score in scores.items() if score - best <= tolerance * abs(best))
    keep, gain = scores.get(KEEP, math.inf), scores.get(KEEP, math.inf) - scores[first]
    better = not math.isfinite(keep) or (gain > 0 and gain >= improve * abs(keep))
    return first if first != KEEP and better else None
