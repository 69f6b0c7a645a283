"""`halt`: end the run, with the model in the newest good state."""

from __future__ import annotations

from supervisor.actions.base import Context, Effect
from supervisor.policy import DataAfterReload

__all__ = ["Halt"]


class Halt:
    """The last rung of every ladder."""

    def unavailable(self, context: Context) -> str | None:
        """It can always act."""
        return None

    def undoes_update(self) -> bool:
        """Whatever the update did is gone, where there is a good state."""
        return True

    def apply(self, context: Context) -> Effect:
        """Restore the newest good state; without one the model stays as it was before the flagged batch."""
        if not context.any_good_state:
            return Effect()
        try:
            return Effect(restored=context.restore_good_state(DataAfterReload.ADVANCE))
        except Exception:  # noqa: BLE001  (a state_dict of the user's may refuse to go back, in any way)
            # A halt must not fail, or the engine would choose it again for ever; its effect says what was restored.
            return Effect()
