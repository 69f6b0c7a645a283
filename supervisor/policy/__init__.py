"""What the user writes: the recovery policy, its loading, its JSON Schema and its resolved form."""

from __future__ import annotations

from supervisor.policy.ladder import (
    AnyRung,
    DataAfterReload,
    HaltRung,
    LowerLrRung,
    RedrawMethod,
    ReinitializeRung,
    ReloadCheckpointRung,
    SkipBatchRung,
    UseLimit,
)
from supervisor.policy.model import (
    CheckpointSettings,
    Detection,
    GradientClip,
    RecoveryPolicy,
    RestartSettings,
    SnapshotSettings,
    SpikeDetection,
)
from supervisor.policy.reactions import Reaction, Reactions

__all__ = [
    "AnyRung",
    "CheckpointSettings",
    "DataAfterReload",
    "Detection",
    "GradientClip",
    "HaltRung",
    "LowerLrRung",
    "Reaction",
    "Reactions",
    "RecoveryPolicy",
    "RedrawMethod",
    "ReinitializeRung",
    "ReloadCheckpointRung",
    "RestartSettings",
    "SkipBatchRung",
    "SnapshotSettings",
    "SpikeDetection",
    "UseLimit",
]
