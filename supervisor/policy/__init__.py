"""What the user writes: the recovery policy, its loading, its JSON Schema and its resolved form."""

from __future__ import annotations

from supervisor.policy.cures import Cure, NamedCure, TryCuresRung, WrittenCure
from supervisor.policy.detection import DriftDetection, SpikeDetection, WeightWatch
from supervisor.policy.experiments import BadData, Experiments, Shift, ShiftAnswer
from supervisor.policy.headroom import ComputedIn, HeadroomAnswer, HeadroomWatch
from supervisor.policy.ladder import (
    AnyRung,
    DataAfterReload,
    HaltRung,
    LowerLrRung,
    RedrawMethod,
    ReinitializeRung,
    ReloadCheckpointRung,
    SkipBatchRung,
)
from supervisor.policy.ladder_base import UseLimit
from supervisor.policy.load import load_policy, policy_json_schema, resolved_yaml
from supervisor.policy.model import GradientClip, RecoveryPolicy, RestartSettings
from supervisor.policy.reactions import OBSERVABLE_SIGNALS, SETUP_SIGNALS, SPIKES, Reaction, Reactions

__all__ = [
    "OBSERVABLE_SIGNALS",
    "SETUP_SIGNALS",
    "SPIKES",
    "AnyRung",
    "BadData",
    "ComputedIn",
    "Cure",
    "DataAfterReload",
    "DriftDetection",
    "Experiments",
    "GradientClip",
    "HaltRung",
    "HeadroomAnswer",
    "HeadroomWatch",
    "LowerLrRung",
    "NamedCure",
    "Reaction",
    "Reactions",
    "RecoveryPolicy",
    "RedrawMethod",
    "ReinitializeRung",
    "ReloadCheckpointRung",
    "RestartSettings",
    "Shift",
    "ShiftAnswer",
    "SkipBatchRung",
    "SpikeDetection",
    "TryCuresRung",
    "UseLimit",
    "WeightWatch",
    "WrittenCure",
    "load_policy",
    "policy_json_schema",
    "resolved_yaml",
]
