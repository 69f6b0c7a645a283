"""What is worth knowing of an exception that the user's code raised in a step."""

from __future__ import annotations

import traceback
from types import TracebackType

from torch import nn

from supervisor.training.modules import named_modules
from supervisor.training.user_code import user_frame
from supervisor.update.attempt import Raised

__all__ = ["raised_from"]

LONGEST_MESSAGE = 500
"""How much of an exception's message stands in a signal, in characters; the traceback in the incident has the rest."""


def raised_from(error: Exception, model: nn.Module) -> Raised:
    """Where an exception comes from.

    Args:
        error: as it was caught.
        model: whose modules may have raised it.
    """
    frames = traceback.extract_tb(error.__traceback__)
    # The line of an exception without a text would be empty.
    message = f"{type(error).__name__}: {error}".strip().splitlines()[0][:LONGEST_MESSAGE]
    return Raised(
        type=type(error).__name__,
        message=message,
        where=user_frame((frame.filename, frame.lineno) for frame in reversed(frames)),
        module=_module_of(error.__traceback__, model),
        traceback="".join(traceback.format_exception(error)),
    )


def _module_of(trace: TracebackType | None, model: nn.Module) -> str | None:
    names = {id(module): name for name, module in named_modules(model)}
    found = None
    # Not of the frame that caught it and still runs: it would keep the copy of its locals, and the exception in it.
    trace = None if trace is None else trace.tb_next
    while trace is not None:
        found = names.get(id(trace.tb_frame.f_locals.get("self")), found)
        trace = trace.tb_next
    return found
