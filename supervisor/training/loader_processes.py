"""When the death of a loader's process is told: as the next batch is drawn, and never in the middle of anything."""

from __future__ import annotations

import importlib

__all__ = ["tell_deaths_when_drawing"]

_HANDLING = "torch.utils.data._utils.signal_handling"
_INSTALLED = "_SIGCHLD_handler_set"


def tell_deaths_when_drawing() -> bool:
    """Keep torch from raising wherever the main thread stands when a process of a loader dies.

    torch's handler of SIGCHLD raises in the middle of a step, of a checkpoint, of the supervisor's own work. Without it
    the loader itself finds out, within seconds, when it waits for the next batch: between two updates. To be called
    before the first loader with processes is iterated.

    Returns:
        Whether it could be arranged; where this torch has no such switch, nothing is changed.
    """
    try:
        handling = importlib.import_module(_HANDLING)
    except ImportError:
        return False
    if not hasattr(handling, _INSTALLED):
        return False
    setattr(handling, _INSTALLED, True)
    return True
