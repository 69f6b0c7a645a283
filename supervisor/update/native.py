"""The executor of plain PyTorch: the model, its optimizer, and a loss function that may be called again."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.amp.grad_scaler import GradScaler

from supervisor.records import Observation
from supervisor.training.inspection import GradientInspection, StateCheck
from supervisor.training.learning_rate import nominal_lr, scaled_learning_rates
from supervisor.training.norms import norms_on_host
from supervisor.training.optimizers import members
from supervisor.training.schedule import Schedule
from supervisor.training.state import Subject, VolatileState
from supervisor.training.tree import clone
from supervisor.update.attempt import Attempt, Place, raised_from
from supervisor.update.backward import backward, unscale
from supervisor.update.executor import LossFunction, Watch
from supervisor.update.wrong_loss import checked

__all__ = ["NativeExecutor", "UpdateSettings"]


@dataclass(frozen=True, slots=True)
class UpdateSettings:
    """How an update is made.

    Attributes:
        accumulate: batches an update; each loss is divided by it.
        max_norm: gradients are clipped to it after inspection, None for not.
        on_gradients: called with the total norm between inspection and clipping.
        sanitized: gives the number of values that the model replaced since it was last asked, 0-dimensional.
    """

    accumulate: int = 1
    max_norm: float | None = None
    on_gradients: Callable[[float], object] | None = None
    sanitized: Callable[[], Tensor] | None = None


class NativeExecutor:
    """Carries updates out on a `Subject`; it is an `Executor`.

    Args:
        subject: the training objects.
        check: finds what is not finite in the state.
        settings: how an update is made.
        schedule: the learning-rate schedule, stepped after each applied update where its interval is a step.
        loss: batch -> scalar tensor with a graph, for `compute`; None where the caller runs the passes.
        replay: the same, called only to run a step again; None where none can be.

    Attributes:
        settings: how an update is made.
        max_norm: what gradients are clipped to, None for not: that of the settings, until a cure sets another.
        lr_factor: what learning rates are multiplied by for good: 1, until a cure sets another.
    """

    def __init__(
        self,
        subject: Subject,
        check: StateCheck,
        settings: UpdateSettings | None = None,
        *,
        schedule: Schedule | None = None,
        loss: LossFunction | None = None,
        replay: LossFunction | None = None,
    ) -> None:
        self.settings = settings or UpdateSettings()
        self._subject = subject
        self._check = check
        self._schedule = schedule
        self._loss = loss
        self._replay = replay
        self._inspect = GradientInspection(subject.names)
        self.max_norm = self.settings.max_norm
        self.lr_factor = 1.0

    @property
    def no_replay(self) -> str | None:
        """Why a step cannot be run again; None where it can."""
        why = "the guard was given no loss function that it may call again (`replay`)"
        return why if self._replay is None else None

    def begin(self) -> VolatileState:
        """Forget the gradients and copy what a forward pass can change."""
        before = self._subject.capture_volatile()
        self._subject.drop_gradients()
        return before

    def compute(self, batches: Sequence[Any]) -> Tensor:
        """The forward and backward pass of an update.

        Returns:
            Its loss.

        Raises:
            LossError: the loss is not a tensor of one element with a graph. What else the loss raises is left as it is.
        """
        if self._loss is None:
            raise RuntimeError("there is no loss function to compute with")
        return backward(batches, self._loss, self._subject.scaler, self.settings.accumulate)

    def measured(self, attempt: Attempt, loss: Tensor | None, error: Exception | None) -> Observation:
        """Measure loss and gradients with one host synchronisation, or take note of what was raised."""
        place = attempt.place
        if error is None:
            try:
                seen = attempt.observation = self._measure(place, loss, self._subject.scaler)
                return seen
            except Exception as raised:  # noqa: BLE001  (whatever the user's hooks raise is a finding)
                error = raised
        self._forget_replaced()
        attempt.observation = Observation(place.step, place.update, math.nan, math.nan, replayed=place.replayed)
        self.raised_in(attempt, error)
        return attempt.seen

    def prepare(self, attempt: Attempt) -> None:
        """Call the user's hook, then clip."""
        settings = self.settings
        if settings.on_gradients is None and self.max_norm is None:
            return
        try:
            if settings.on_gradients is not None:
                settings.on_gradients(attempt.seen.grad_norm)
            self.clip(self.max_norm)
        except Exception as error:  # noqa: BLE001  (whatever the user's hook raises is a finding)
            self.raised_in(attempt, error)

    def clip(self, max_norm: float | None) -> None:
        """Scale all gradients of the model down to a total norm."""
        if max_norm is not None:
            torch.nn.utils.clip_grad_norm_(self._subject.model.parameters(), max_norm)

    def gradient_norm(self) -> float:
        """The total norm of the gradients as they are now; 0 without any, or where one is sparse."""
        held = [parameter.grad for parameter in self._subject.names if parameter.grad is not None]
        # What is sparse cannot be clipped, by nobody.
        return 0.0 if any(each.is_sparse for each in held) else math.hypot(*norms_on_host(held))

    def applying(self, lr_scale: float) -> AbstractContextManager[object]:
        """Scale the learning rates inside the block."""
        return scaled_learning_rates(self._subject.optimizer, lr_scale)

    def step_optimizer(self) -> None:
        """The optimizer's step, through the gradient scaler where there is one."""
        scaler = self._subject.scaler
        if scaler is None:
            self._subject.optimizer.step()
            return
        for each in members(self._subject.optimizer):
            scaler.step(each)
        scaler.update()

    def step_schedule(self, loss: float) -> None:
        """Step the schedule at the nominal rate."""
        if self._schedule is not None and self._schedule.scheduler is not None:
            self._schedule.after_update(loss)

    def after_update(self, attempt: Attempt) -> None:
        """Step the schedule, as an update that can go wrong."""
        try:
            self.step_schedule(attempt.seen.loss)
        except Exception as error:  # noqa: BLE001  (whatever the user's scheduler raises is a finding)
            self.raised_in(attempt, error)

    def check_state(self, attempt: Attempt) -> None:
        """Look at parameters, buffers and optimizer state, and at the norms of the weights."""
        found = self._check.findings(attempt.place.update)
        attempt.observation = replace(
            attempt.seen,
            bad_parameters=found.bad_parameters,
            bad_optimizer_state=found.bad_optimizer_state,
            weight_norms=found.weight_norms,
            headroom=found.headroom,
        )

    def undo(self, attempt: Attempt) -> None:
        """Put everything back; a gradient scaler that found an overflow does its own back-off."""
        scaler = self._subject.scaler
        if scaler is not None:
            # Before it backs off: replays begin from the state before the update, the scaler's too.
            attempt.scaler_before = clone(scaler.state_dict())
            attempt.observation = replace(attempt.seen, loss_scale=self._subject.loss_scale)
        self._subject.discard_update(attempt.before)

    def give_up(self, attempt: Attempt) -> None:
        """Put everything back as if the batch had never been drawn: an interrupted update says nothing of the scale."""
        self._forget_replaced()
        self._subject.forget_update(attempt.before)

    def raised_in(self, attempt: Attempt, error: Exception) -> None:
        """Put an exception into the attempt and its observation."""
        raised = attempt.raised = raised_from(error, self._subject.model)
        attempt.error = error
        attempt.observation = replace(attempt.seen, exception=raised.message, exception_where=raised.where)

    def replay(self, batches: Sequence[Any], place: Place, watch: Watch | None = None) -> Observation:
        """Run an update's passes and measurement again; an exception becomes part of the observation."""
        return self._replayed(batches, place, self._subject.scaler, watch)

    def replay_one(self, batch: Any, place: Place) -> Observation:
        """The same for one accumulated batch, without the loss scale."""
        return self._replayed((batch,), place, None, None)

    def probe(self, batches: Sequence[Any], *, graph: bool) -> float:
        """The loss by a forward pass alone."""
        if self._replay is None:
            raise RuntimeError(self.no_replay)
        try:
            with torch.set_grad_enabled(graph):
                losses = [float(checked(self._replay(batch), self._replay, graph=False).detach()) for batch in batches]
        finally:
            self._forget_replaced()
        return sum(losses) / self.settings.accumulate

    def _replayed(
        self, batches: Sequence[Any], place: Place, scaler: GradScaler | None, watch: Watch | None
    ) -> Observation:
        if self._replay is None:
            raise RuntimeError(self.no_replay)
        compute = self._replay if watch is None else watch(self._replay)
        self._subject.drop_gradients()
        try:
            return self._measure(place, backward(batches, compute, scaler, self.settings.accumulate), scaler)
        except BaseException as error:
            self._forget_replaced()
            if not isinstance(error, Exception):
                raise
            raised = raised_from(error, self._subject.model)
            seen = Observation(place.step, place.update, math.nan, math.nan, replayed=place.replayed)
            return replace(seen, exception=raised.message, exception_where=raised.where)

    def _measure(self, place: Place, loss: Tensor | None, scaler: GradScaler | None) -> Observation:
        if loss is None:
            raise TypeError("after_backward needs the loss of the update, or the exception that it raised")
        if scaler is not None:
            unscale(scaler, self._subject.optimizer)
        sanitized = self.settings.sanitized
        replaced = None if sanitized is None else sanitized()
        value, norm, count, flaws = self._inspect.measure(loss, replaced, self._check.buffers_in_use())
        seen = Observation(
            place.step,
            place.update,
            value,
            norm,
            sanitized=count,
            lr=nominal_lr(self._subject.optimizer),
            replayed=place.replayed,
        )
        return seen if flaws is None else replace(seen, **flaws)

    def _forget_replaced(self) -> None:
        """What a failed pass replaced is no finding about the next one."""
        if self.settings.sanitized is not None:
            with contextlib.suppress(Exception):
                self.settings.sanitized()
