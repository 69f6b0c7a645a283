"""One optimizer update: forward, backward and inspection; then, if it is healthy, the step itself."""

from __future__ import annotations

import contextlib
import math
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler

from supervisor.diagnosis import Raised
from supervisor.policy import RecoveryPolicy
from supervisor.records import Observation
from supervisor.training.inspection import StateCheck, measure
from supervisor.training.learning_rate import nominal_lr, scaled_learning_rates
from supervisor.training.modules import named_modules
from supervisor.training.optimizers import members
from supervisor.training.schedule import Schedule
from supervisor.training.state import Subject

__all__ = ["LossFunction", "Update", "UpdateRunner"]

LONGEST_MESSAGE = 500
"""How much of an exception's message stands in a signal, in characters."""

LossFunction = Callable[[Any], Tensor]


@dataclass(frozen=True, slots=True)
class Update:
    """Where one update stands: its number, its place in the schedule, and whether its batch comes again."""

    step: int
    update: int
    replayed: bool


class UpdateRunner:
    """Runs updates on the training objects.

    Args:
        subject: model, optimizer, scaler.
        schedule: the learning-rate scheduler, stepped after each applied update where its interval is a step.
        loss: batch -> scalar tensor with a graph.
        check: finds non-finite state.
        policy: for `gradient_clip`.
        accumulate: batches an update.
        on_gradients: called with the total norm between inspection and update.
        sanitized: gives the number of values replaced since the last call, 0-dimensional.

    Attributes:
        last_traceback: of the exception that the last update raised, None when it raised none.
        raised: what that exception was, likewise.
    """

    def __init__(
        self,
        subject: Subject,
        schedule: Schedule,
        loss: LossFunction,
        check: StateCheck,
        policy: RecoveryPolicy,
        *,
        accumulate: int,
        on_gradients: Callable[[float], object] | None,
        sanitized: Callable[[], Tensor] | None,
    ) -> None:
        self._subject = subject
        self._schedule = schedule
        self._loss = loss
        self._check = check
        self._policy = policy
        self._accumulate = accumulate
        self._on_gradients = on_gradients
        self._sanitized = sanitized
        self.last_traceback: str | None = None
        self.raised: Raised | None = None

    def observe(
        self, batch: Any, place: Update, watched: Callable[[LossFunction], LossFunction] | None = None
    ) -> Observation:
        """Forward, backward and one measurement. Whatever the user's code raises becomes part of the observation.

        Args:
            batch: the batch, or the batches where several make an update.
            place: where the update stands.
            watched: wraps the loss function, to watch a replay.
        """
        self.last_traceback = self.raised = None
        batches = (batch,) if self._accumulate == 1 else batch
        compute = self._loss if watched is None else watched(self._loss)
        return self._observed(batches, place, self._subject.scaler, compute)

    def observe_again(self, batch: Any, place: Update) -> Observation:
        """The same for one of an update's accumulated batches by itself, weighted as in it, but without loss scale."""
        with self.replaying():
            return self._observed((batch,), place, None, self._loss)

    def _observed(
        self, batches: Sequence[Any], place: Update, scaler: GradScaler | None, compute: LossFunction
    ) -> Observation:
        self._subject.drop_gradients()
        try:
            loss = self._backward(batches, scaler, compute)
            counted = None if self._sanitized is None else self._sanitized()
            found = measure(loss, self._subject.names, counted, self._check.buffers_in_use())
        except BaseException as error:
            self._forget_replaced()
            if not isinstance(error, Exception):
                raise
            seen = Observation(place.step, place.update, math.nan, math.nan, replayed=place.replayed)
            return self._raised(seen, error)
        return Observation(
            step=place.step,
            update=place.update,
            loss=found.loss,
            grad_norm=found.grad_norm,
            gradient_elements_finite=found.elements_finite,
            gradient_max_abs=found.max_abs,
            bad_gradients=found.bad,
            bad_buffers=found.bad_buffers,
            sanitized=found.sanitized,
            lr=nominal_lr(self._subject.optimizer),
            replayed=place.replayed,
        )

    @contextlib.contextmanager
    def replaying(self) -> Iterator[None]:
        """What the last update raised outlasts the replays inside."""
        kept = self.last_traceback, self.raised
        try:
            yield
        finally:
            self.last_traceback, self.raised = kept

    def _forget_replaced(self) -> None:
        """What a failed pass replaced is no finding about the next one."""
        if self._sanitized is not None:
            with contextlib.suppress(Exception):
                self._sanitized()

    def prepare(self, observation: Observation) -> Observation:
        """What may change the gradients between inspection and update: the user's hook, then clipping."""
        try:
            if self._on_gradients is not None:
                self._on_gradients(observation.grad_norm)
            if self._policy.gradient_clip is not None:
                torch.nn.utils.clip_grad_norm_(self._subject.model.parameters(), self._policy.gradient_clip.max_norm)
        except Exception as error:  # noqa: BLE001  (likewise)
            return self._raised(observation, error)
        return observation

    def apply(self, observation: Observation, lr_scale: float) -> Observation:
        """The optimizer's step at the scaled rate, then the scheduler's at the nominal one.

        An exception in here leaves the update half applied.
        """
        scaler = self._subject.scaler
        try:
            with scaled_learning_rates(self._subject.optimizer, lr_scale):
                if scaler is None:
                    self._subject.optimizer.step()
                else:
                    for each in members(self._subject.optimizer):
                        scaler.step(each)
                    scaler.update()
            self._schedule.after_update(observation.loss)
        except Exception as error:  # noqa: BLE001  (likewise)
            return self._raised(observation, error)
        return observation

    def with_state_findings(self, observation: Observation) -> Observation:
        """The observation with what is wrong in parameters, buffers and optimizer state, and the weights' norms."""
        found = self._check.findings()
        return replace(
            observation,
            bad_parameters=found.bad_parameters,
            bad_optimizer_state=found.bad_optimizer_state,
            weight_norms=found.weight_norms,
        )

    def _backward(self, batches: Sequence[Any], scaler: GradScaler | None, compute: LossFunction) -> Tensor:
        total: Tensor | None = None
        for part in batches:
            loss = compute(part)
            if not isinstance(loss, Tensor) or loss.numel() != 1:
                kind = f"shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else type(loss).__name__
                raise TypeError(f"loss(batch) must return a tensor with one element, not {kind}")
            loss = loss if self._accumulate == 1 else loss / self._accumulate
            (loss if scaler is None else scaler.scale(loss)).backward()  # type: ignore[no-untyped-call]
            total = loss.detach() if total is None else total + loss.detach()
        if scaler is not None and scaler.is_enabled():
            for each in members(self._subject.optimizer):
                scaler.unscale_(each)
        if total is None:
            raise ValueError("an update needs at least one batch")
        return total

    def _raised(self, observation: Observation, error: Exception) -> Observation:
        self.last_traceback = "".join(traceback.format_exception(error))
        # One line for the record; the traceback in the incident's file has the rest, which can be pages.
        where = _user_frame(error.__traceback__)
        self.raised = Raised(type(error).__name__, where, _module_of(error.__traceback__, self._subject.model))
        what = f"{type(error).__name__}: {error}".strip().splitlines()[0][:LONGEST_MESSAGE]
        return replace(observation, exception=what, exception_where=where)


def _module_of(trace: TracebackType | None, model: nn.Module) -> str | None:
    """Qualified name of the innermost module in whose method an exception was raised."""
    names = {id(module): name for name, module in named_modules(model)}
    found = None
    while trace is not None:
        found = names.get(id(trace.tb_frame.f_locals.get("self")), found)
        trace = trace.tb_next
    return found


def _user_frame(trace: TracebackType | None) -> str | None:
    """`file:line` of the innermost frame that is neither torch's nor ours."""
    ours = Path(sys.modules["supervisor"].__file__ or "").parent
    theirs = Path(torch.__file__).parent
    frames = traceback.extract_tb(trace)
    own = [f for f in frames if not {ours, theirs} & set(Path(f.filename).parents)]
    return f"{own[-1].filename}:{own[-1].lineno}" if own else None
