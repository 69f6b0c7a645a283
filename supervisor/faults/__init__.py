"""Faults for rehearsals and tests: written into a running job through the paths that real ones take."""

from supervisor.faults.injector import FaultInjector
from supervisor.faults.load import load_faults
from supervisor.faults.model import (
    Fault,
    FaultScript,
    NanBatch,
    NanGradient,
    NanOptimizerState,
    NanSample,
    NanWeight,
    OverflowGradient,
)

__all__ = [
    "Fault",
    "FaultInjector",
    "FaultScript",
    "NanBatch",
    "NanGradient",
    "NanOptimizerState",
    "NanSample",
    "NanWeight",
    "OverflowGradient",
    "load_faults",
]
