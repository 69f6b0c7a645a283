"""Faults for rehearsals and tests: written into a running job through the paths that real ones take.

The injector is resolved when it is first used, so that whoever only reads a fault script does not import torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from supervisor.faults.load import load_faults
from supervisor.faults.model import Fault, FaultScript
from supervisor.faults.strike import FaultRecord, read_fault_records

if TYPE_CHECKING:
    from supervisor.faults.injector import FaultInjector

__all__ = ["Fault", "FaultInjector", "FaultRecord", "FaultScript", "load_faults", "read_fault_records"]


def __getattr__(name: str) -> object:
    if name == "FaultInjector":
        return importlib.import_module("supervisor.faults.injector").FaultInjector
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
