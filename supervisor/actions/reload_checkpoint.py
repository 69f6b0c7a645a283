"""`reload_checkpoint`: go back to the newest good state."""

from __future__ import annotations

from supervisor.actions.base import Context, Effect
from supervisor.policy import DataAfterReload, ReloadCheckpointRung

__all__ = ["NO_GOOD_STATE", "ReloadCheckpoint"]

NO_GOOD_STATE = "there is no good state to go back to"


class ReloadCheckpoint:
    """Restores everything but the learning-rate cuts, the ladder, the windows and, under `advance`, the data."""

    def __init__(self, rung: ReloadCheckpointRung) -> None:
        self._data = rung.data

    def unavailable(self, context: Context) -> str | None:
        """Without a good state, or with `data: replay` on data that cannot go back."""
        if self._data is DataAfterReload.REPLAY and not context.data_can_go_back:
            return "the data cannot go back: write `data: advance`, or give the guard a list or a DataLoader"
        return None if context.any_good_state else NO_GOOD_STATE

    def undoes_update(self) -> bool:
        """Whatever the update did is gone."""
        return True

    def apply(self, context: Context) -> Effect:
        """Restore the newest good state."""
        return Effect(restored=context.restore_good_state(self._data))
