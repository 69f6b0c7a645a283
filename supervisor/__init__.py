"""Automated recovery for PyTorch training.

The public names are resolved when they are first used, so that `import supervisor` does not import torch: the parent
process, which must outlive anything the training does, stays small.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from supervisor.version import __version__

if TYPE_CHECKING:
    from supervisor.errors import InputError, PolicyHalt, SupervisorError
    from supervisor.events.schema import RunSummary
    from supervisor.guard import Guard, StepOutcome, Verdict
    from supervisor.policy import RecoveryPolicy, load_policy
    from supervisor.records import Signal, SignalName
    from supervisor.training.trainer import Trainer

__all__ = [
    "Guard",
    "InputError",
    "PolicyHalt",
    "RecoveryPolicy",
    "RunSummary",
    "Signal",
    "SignalName",
    "StepOutcome",
    "SupervisorError",
    "Trainer",
    "Verdict",
    "__version__",
    "load_policy",
]

_HOME = {
    "Guard": "supervisor.guard",
    "InputError": "supervisor.errors",
    "PolicyHalt": "supervisor.errors",
    "RecoveryPolicy": "supervisor.policy",
    "RunSummary": "supervisor.events.schema",
    "Signal": "supervisor.records",
    "SignalName": "supervisor.records",
    "StepOutcome": "supervisor.guard",
    "SupervisorError": "supervisor.errors",
    "Trainer": "supervisor.training.trainer",
    "Verdict": "supervisor.guard",
    "load_policy": "supervisor.policy",
}


def __getattr__(name: str) -> object:
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
