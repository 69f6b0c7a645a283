"""The best checkpoint so far, which retention keeps: by a metric of the trainer's evaluation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from supervisor.checkpoints import BestRule, Kept

__all__ = ["BestCheckpoints"]


class BestCheckpoints:
    """What the evaluation gave on the checkpoints that are held, and which of them stay whatever their age.

    It knows no more than what is on disk, so that a resumed run knows the same. A checkpoint that a reload abandons is
    abandoned as the best one too.

    Args:
        rule: what is best; None: none is kept.
    """

    def __init__(self, rule: BestRule | None) -> None:
        self.rule = rule
        self._measured: dict[int, Mapping[str, float]] = {}

    def note(self, update: int, metrics: Mapping[str, float]) -> None:
        """The checkpoint of an update was evaluated."""
        self._measured[update] = metrics

    def forget(self, update: int) -> None:
        """A checkpoint is no longer held."""
        self._measured.pop(update, None)

    def knows(self, update: int) -> bool:
        """Whether the checkpoint of an update was evaluated."""
        return update in self._measured

    def beaten_by(self, metrics: Mapping[str, float]) -> bool:
        """Whether a state with these metrics is better than every checkpoint that is held."""
        value = None if self.rule is None else self.rule.value(metrics)
        if self.rule is None or value is None:
            return False
        best = self.of(self._measured)
        return best is None or self.rule.better(value, best[1])

    def of(self, updates: Iterable[int]) -> tuple[int, float] | None:
        """The best of some checkpoints, the first of equal ones, and its value; None where there is none."""
        best: tuple[int, float] | None = None
        for update in sorted(updates):
            value = None if self.rule is None else self.rule.value(self._measured.get(update, {}))
            if self.rule is not None and value is not None and (best is None or self.rule.better(value, best[1])):
                best = update, value
        return best

    def pinned(self, held: Iterable[Kept]) -> frozenset[int]:
        """The checkpoints that stay: the best one and, while it is on probation, the best good one too."""
        if self.rule is None:
            return frozenset()
        kept = [*held]
        found = (self.of(each.update for each in kept), self.of(each.update for each in kept if each.good))
        return frozenset(best[0] for best in found if best is not None)
