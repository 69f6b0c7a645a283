"""The recovery actions, each found by its rung of the ladder."""

from __future__ import annotations

from supervisor.actions.base import Action, Effect, Restored
from supervisor.actions.going_back import Halt, Reinitialize, ReloadCheckpoint
from supervisor.actions.try_cures import TryCures
from supervisor.policy import (
    AnyRung,
    HaltRung,
    LowerLrRung,
    ReinitializeRung,
    ReloadCheckpointRung,
    SkipBatchRung,
    TryCuresRung,
)

__all__ = ["Action", "Effect", "Restored", "action_for"]


def action_for(rung: AnyRung) -> Action:
    """The action that carries out a rung."""
    match rung:
        case SkipBatchRung() | LowerLrRung():
            return Action()
        case ReloadCheckpointRung():
            return ReloadCheckpoint(rung)
        case TryCuresRung():
            return TryCures(rung)
        case ReinitializeRung():
            return Reinitialize(rung)
        case HaltRung():
            return Halt()
