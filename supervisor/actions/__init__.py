"""The recovery actions: one file each, found by the name that the ladder uses."""

from __future__ import annotations

from supervisor.actions.base import Action, Context, Effect, Restored
from supervisor.actions.halt import Halt
from supervisor.actions.lower_lr import LowerLr
from supervisor.actions.reinitialize import Reinitialize
from supervisor.actions.reload_checkpoint import ReloadCheckpoint
from supervisor.actions.skip_batch import SkipBatch
from supervisor.policy import (
    AnyRung,
    HaltRung,
    LowerLrRung,
    ReinitializeRung,
    ReloadCheckpointRung,
    SkipBatchRung,
)

__all__ = ["Action", "Context", "Effect", "Restored", "action_for"]


def action_for(rung: AnyRung) -> Action:
    """The action that carries out a rung."""
    match rung:
        case SkipBatchRung():
            return SkipBatch()
        case LowerLrRung():
            return LowerLr()
        case ReloadCheckpointRung():
            return ReloadCheckpoint(rung)
        case ReinitializeRung():
            return Reinitialize(rung)
        case HaltRung():
            return Halt()
