"""`lower_lr`: drop the batch and take smaller steps for a while."""

from __future__ import annotations

from supervisor.actions.base import Context, Effect

__all__ = ["LowerLr"]


class LowerLr:
    """The cut itself is part of the engine's decision, where it outlives reloads and resumes.

    The guard multiplies the learning rate by the product of the cuts in force, for the duration of each
    `optimizer.step` (see `supervisor.training.learning_rate`).
    """

    def unavailable(self, context: Context) -> str | None:
        """It can always act."""
        return None

    def undoes_update(self) -> bool:
        """It relies on the discarded update."""
        return False

    def apply(self, context: Context) -> Effect:
        """Nothing beyond the cut."""
        return Effect()
