"""`Attempt`: one update, from the copy that is taken before its batch to its end."""

from __future__ import annotations

import enum
import traceback
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from torch import nn

from supervisor.errors import traceback_of
from supervisor.evidence import Evidence
from supervisor.records import Observation, Signal
from supervisor.training.modules import named_modules
from supervisor.training.state import VolatileState
from supervisor.training.user_code import user_frame
from supervisor.update.wrong_loss import LossError, said_of

__all__ = ["Attempt", "Phase", "Place", "Raised", "raised_from"]

LONGEST_MESSAGE = 500
"""How much of an exception's message stands in a signal, in characters; the traceback in the incident has the rest."""


class Phase(enum.Enum):
    """How far an update has come."""

    BEGUN = "begun"
    """What a forward pass can change is copied; nothing was measured."""
    PASSED = "passed"
    """Loss and gradients are sound: the optimizer may step."""
    STEPPING = "stepping"
    """The optimizer has begun to step, so that the update can no longer be discarded."""
    ENDED = "ended"
    """It stands, or it was discarded and answered, or it was given up."""


@dataclass(slots=True)
class Place:
    """Where an update stands in the run.

    Attributes:
        step: its position in the schedule, from 0.
        update: its number among all attempted updates, from 0.
        replayed: whether its batch comes again after a reload with `data: replay`.
    """

    step: int
    update: int
    replayed: bool


@dataclass(frozen=True, slots=True)
class Raised:
    """An exception that the user's code raised in a step.

    Attributes:
        type: its class name.
        message: its class name and the first line of its text.
        where: `file:line` of the innermost frame in the user's code, None where there is none.
        module: qualified name of the innermost module in whose code it was raised, None outside of every one.
        traceback: the whole of it.
    """

    type: str
    message: str
    where: str | None
    module: str | None
    traceback: str


@dataclass(slots=True, eq=False)
class Attempt:
    """All that belongs to one update. It is handed from part to part, and no part keeps any of it.

    Attributes:
        place: where it stands in the run.
        batches: its batches, more than one where they accumulate.
        before: the state before its batch, beside parameters and optimizer.
        started: when it began, by the monotonic clock, in seconds.
        drawn: whether the guard's own data gave these very batches, so that they can come again.
        phase: how far it has come.
        copied_batches: its batches as they were before the loss saw them, where they may become a canary.
        observation: what it measured; None until its backward pass is over.
        signals: what was found about that, furthest upstream first.
        raised: the exception that ended it, if one did.
        error: that exception itself, until the update is answered.
        undone: whether it can be discarded; False once the optimizer has begun to step, when only a reload can undo it.
        scaler_before: the gradient scaler's `state_dict` before it backed off, None without a scaler.
        at_fault: positions of the accumulated batches that are bad by themselves.
        reusable: positions of those that may be used again.
        suspicions: what makes it odd, where it is applied on trial.
        extreme: whether its loss is extreme, and it is tried all the same.
        odd: whether it is odd and could not be tried.
        evidence: what experiments found; None where none was made yet.
        gone_back_over: accepted updates of its stretch that were undone together with it.
        mended: its batches without the rows that are at fault, where they come again without them.
        cut: by how much the ladder lowers the learning rate with which it is applied.
    """

    place: Place
    batches: tuple[Any, ...]
    before: VolatileState
    started: float
    drawn: bool = False
    phase: Phase = Phase.BEGUN
    copied_batches: tuple[Any, ...] | None = None
    observation: Observation | None = None
    signals: tuple[Signal, ...] = ()
    raised: Raised | None = None
    error: Exception | None = None
    undone: bool = True
    scaler_before: Any = None
    at_fault: tuple[int, ...] = ()
    reusable: tuple[int, ...] = ()
    suspicions: tuple[Signal, ...] = ()
    extreme: bool = False
    odd: bool = False
    evidence: Evidence | None = None
    gone_back_over: int = 0
    mended: tuple[Any, ...] = ()
    cut: float = 1.0

    @property
    def seen(self) -> Observation:
        """What it measured.

        Raises:
            RuntimeError: nothing was measured yet.
        """
        if self.observation is None:
            raise RuntimeError("the update was not measured yet")
        return self.observation


def raised_from(error: Exception, model: nn.Module) -> Raised:
    """Where an exception comes from.

    Args:
        error: as it was caught.
        model: whose modules may have raised it.
    """
    frames = traceback.extract_tb(error.__traceback__)
    where = user_frame((frame.filename, frame.lineno) for frame in reversed(frames))
    message = said_of(error).splitlines()[0][:LONGEST_MESSAGE]
    return Raised(
        type=type(error).__name__,
        message=message,
        where=where or (error.where if isinstance(error, LossError) else None),
        module=_module_of(error.__traceback__, model),
        traceback=traceback_of(error),
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
