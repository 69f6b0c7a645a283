"""`try_cures`: what may be changed of the set-up is tried on forks, and what helps is kept."""

from __future__ import annotations

from supervisor.actions.base import Context, Effect
from supervisor.actions.going_back import GoingBack
from supervisor.policy import TryCuresRung

__all__ = ["TryCures"]


class TryCures(GoingBack):
    """Forks the newest good state once for each cure, and goes on from it with the one that helps.

    Args:
        rung: the cures, and how they are judged.
    """

    def __init__(self, rung: TryCuresRung) -> None:
        self._rung = rung

    def unavailable(self, context: Context) -> str | None:
        """Without a good state, or where no fork can be made."""
        return super().unavailable(context) or context.no_cures(self._rung)

    def apply(self, context: Context) -> Effect:
        """Try the cures."""
        return context.try_cures(self._rung)
