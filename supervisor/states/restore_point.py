"""What a reload goes back to: the training's state with its place in the schedule and in the data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from supervisor.training.state import TrainingState

__all__ = ["RestorePoint", "Source", "last_update"]

Source = Literal["memory", "disk"]


@dataclass(frozen=True, slots=True)
class RestorePoint:
    """A state a run can go back to.

    Attributes:
        step: steps done.
        update: updates attempted.
        applied_steps: updates applied on the way there.
        useful_seconds: wall time of those updates.
        training: the state of the training objects.
        data: position in the data (`DataCursor.position`).
    """

    step: int
    update: int
    applied_steps: int
    useful_seconds: float
    training: TrainingState
    data: dict[str, Any]

    def to_tree(self) -> dict[str, Any]:
        """Nested dicts for a checkpoint."""
        tree = {name: getattr(self, name) for name in self.__slots__}
        return {**tree, "training": self.training.to_tree()}

    @classmethod
    def from_tree(cls, tree: Mapping[str, Any]) -> RestorePoint:
        """The inverse of `to_tree`; KeyError when a field is missing."""
        fields = {name: tree[name] for name in cls.__slots__}
        return cls(**{**fields, "training": TrainingState.from_tree(tree["training"])})


def last_update(update: int) -> int | None:
    """The last update attempted before the next is `update`; a line about it survives a resume from there."""
    return update - 1 if update else None
