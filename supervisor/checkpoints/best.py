"""Which checkpoint is the best by a metric: the rule, and the choice among those on disk."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from supervisor.checkpoints.measured import read_metrics
from supervisor.saved import CheckpointInfo

__all__ = ["BestRule", "best_of"]


@dataclass(frozen=True, slots=True)
class BestRule:
    """What makes one checkpoint better than another.

    Attributes:
        metric: name of a metric that the evaluation gives.
        mode: whether the smallest or the largest value is the best.
    """

    metric: str
    mode: Literal["min", "max"]

    def value(self, metrics: Mapping[str, float]) -> float | None:
        """The metric's value; None where it is missing or not finite, for such a one is never the best."""
        value = metrics.get(self.metric)
        return value if value is not None and math.isfinite(value) else None

    def better(self, value: float, than: float) -> bool:
        """Whether one value is strictly better than another: of equal ones the first stays the best."""
        return value < than if self.mode == "min" else value > than


def best_of(found: Iterable[CheckpointInfo], rule: BestRule) -> tuple[CheckpointInfo, float] | None:
    """The best of the checkpoints in a directory, and its value; None where none was evaluated.

    Args:
        found: the checkpoints, in any order.
        rule: what is best.
    """
    best: tuple[CheckpointInfo, float] | None = None
    for info in sorted(found, key=lambda each: math.inf if each.update is None else each.update):
        value = rule.value(read_metrics(info.path) or {})
        if value is not None and (best is None or rule.better(value, best[1])):
            best = info, value
    return best
