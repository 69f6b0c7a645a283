"""`skip_batch`: drop the batch and go on, as if it had never been seen."""

from __future__ import annotations

from supervisor.actions.base import Context, Effect

__all__ = ["SkipBatch"]


class SkipBatch:
    """Needs to do nothing: every action begins by discarding the flagged update."""

    def unavailable(self, context: Context) -> str | None:
        """It can always act."""
        return None

    def undoes_update(self) -> bool:
        """It relies on the discarded update."""
        return False

    def apply(self, context: Context) -> Effect:
        """Nothing beyond the discarded update."""
        return Effect()
