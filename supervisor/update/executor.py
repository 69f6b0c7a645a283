"""The port through which an update is carried out, whoever owns the loop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from torch import Tensor

from supervisor.records import Observation
from supervisor.training.state import VolatileState
from supervisor.update.attempt import Attempt, Place

__all__ = ["Executor", "LossFunction", "Watch"]

LossFunction = Callable[[Any], Tensor]
"""A batch to its loss: a tensor of one element, with a graph."""

Watch = Callable[[LossFunction], LossFunction]
"""Wraps the loss function, to watch a replay."""


class Executor(Protocol):
    """Carries an update out: begin, measured, then apply or undo. A part that decides never touches a tensor itself.

    Attributes:
        max_norm: what `prepare` clips gradients to, None for not. A cure of the set-up may set another.
        lr_factor: what learning rates are multiplied by for good. A cure may set it; 1 without one.
    """

    max_norm: float | None
    lr_factor: float

    @property
    def no_replay(self) -> str | None:
        """Why a step cannot be run again; None where it can."""

    def begin(self) -> VolatileState:
        """Forget the gradients and copy what a forward pass can change."""

    def measured(self, attempt: Attempt, loss: Tensor | None, error: Exception | None) -> Observation:
        """Put into the attempt what its passes gave: its observation, and `raised` where the user's code raised."""

    def prepare(self, attempt: Attempt) -> None:
        """Do what may change the gradients after the inspection: the user's hook, then clipping."""

    def applying(self, lr_scale: float) -> AbstractContextManager[object]:
        """Scale the learning rates inside the block, in which the optimizer steps."""

    def raised_in(self, attempt: Attempt, error: Exception) -> None:
        """Put an exception of the user's code into the attempt."""

    def step_optimizer(self) -> None:
        """The optimizer's step, through the gradient scaler where there is one."""

    def clip(self, max_norm: float | None) -> None:
        """Scale all gradients down to a total norm; None for not."""

    def step_schedule(self, loss: float) -> None:
        """Step the learning-rate schedule after an update that had this loss."""

    def probe(self, batches: Sequence[Any], *, graph: bool) -> float:
        """The loss of an update's batches by a forward pass alone.

        Generators, buffers and the like are the caller's to put back.

        Args:
            batches: of one update.
            graph: whether the loss needs a graph to be computed at all.
        """

    def gradient_norm(self) -> float:
        """The total norm of the gradients as they are now, as after whatever has clipped them.

        0 where there are none, or where one is sparse: torch clips no such gradient.
        """

    def after_update(self, attempt: Attempt) -> None:
        """Step the learning-rate schedule, once the optimizer has stepped."""

    def check_state(self, attempt: Attempt) -> None:
        """Add what is wrong with parameters, buffers and optimizer state to the attempt's observation."""

    def undo(self, attempt: Attempt) -> None:
        """Put everything back to before the batch. Parameters stay: where they were reached, only a reload helps."""

    def give_up(self, attempt: Attempt) -> None:
        """Put everything back as if the batch had never been drawn, the gradient scaler's scale included."""

    def replay(self, batches: Sequence[Any], place: Place, watch: Watch | None = None) -> Observation:
        """Run forward, backward and the measurement of an update again, from the state as it is now.

        The gradients stay until the next pass; generators, buffers and the like are the caller's to put back.
        """

    def replay_one(self, batch: Any, place: Place) -> Observation:
        """The same for one of an update's accumulated batches by itself, weighted as in it, but without loss scale."""
