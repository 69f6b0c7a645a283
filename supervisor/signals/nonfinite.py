"""The detectors that no policy can turn off: what must never reach the weights."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from supervisor.records import Detail, Observation, Signal, SignalName
from supervisor.signals.protocol import Detector

__all__ = [
    "NAMED",
    "OVERFLOW_BOUND",
    "GradientOverflow",
    "NonfiniteBuffer",
    "NonfiniteGradient",
    "NonfiniteLoss",
    "NonfiniteOptimizerState",
    "NonfiniteParameter",
    "SanitizedValues",
    "StepException",
    "finds_nothing",
    "nonfinite_detectors",
]

OVERFLOW_BOUND = 1e18
"""A gradient element beyond this squares to more than float32 holds, which makes a second moment infinite for ever."""

NAMED = 3
"""How many of the tensors at fault a signal names; it also says how many there are."""


class _Stateless:
    """A detector that needs no memory."""

    def accept(self, observation: Observation) -> None:
        pass

    def flagged(self, observation: Observation) -> None:
        pass

    def restored(self) -> None:
        pass

    def forget(self) -> None:
        pass

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        pass


class StepException(_Stateless):
    """The step raised an exception."""

    def inspect(self, observation: Observation) -> Signal | None:
        """`step_exception` with the exception's type and message and the line in the user's code."""
        if observation.exception is None:
            return None
        details: dict[str, Detail] = {"exception": observation.exception}
        if observation.exception_where is not None:
            details["where"] = observation.exception_where
        return Signal(SignalName.STEP_EXCEPTION, {**details, **_circumstances(observation)})


class NonfiniteOptimizerState(_Stateless):
    """An optimizer tensor holds a NaN or an infinity."""

    def inspect(self, observation: Observation) -> Signal | None:
        """`nonfinite_optimizer_state` with the first tensors at fault."""
        if not observation.bad_optimizer_state:
            return None
        return Signal(SignalName.NONFINITE_OPTIMIZER_STATE, _named(observation.bad_optimizer_state))


class NonfiniteParameter(_Stateless):
    """A parameter or buffer holds a NaN or an infinity."""

    def inspect(self, observation: Observation) -> Signal | None:
        """`nonfinite_parameter` with the first tensors at fault."""
        if not observation.bad_parameters:
            return None
        return Signal(SignalName.NONFINITE_PARAMETER, _named(observation.bad_parameters))


class NonfiniteBuffer(_Stateless):
    """The forward pass put a NaN or an infinity into a buffer, though loss and gradients are finite.

    Running statistics are spoilt that way. The discarded update puts them back, so that only the batch is at fault. A
    buffer that is bad even then was bad before the batch: that is `nonfinite_parameter`.
    """

    def inspect(self, observation: Observation) -> Signal | None:
        """`nonfinite_buffer` with the first buffers at fault."""
        spoilt = tuple(name for name in observation.bad_buffers if name not in observation.bad_parameters)
        if not spoilt:
            return None
        return Signal(SignalName.NONFINITE_BUFFER, {**_named(spoilt), **_circumstances(observation)})


class NonfiniteLoss(_Stateless):
    """The loss is NaN or infinite."""

    def inspect(self, observation: Observation) -> Signal | None:
        """`nonfinite_loss` with the loss."""
        if observation.exception is not None or math.isfinite(observation.loss):
            return None
        return Signal(SignalName.NONFINITE_LOSS, {"loss": observation.loss, **_circumstances(observation)})


class NonfiniteGradient(_Stateless):
    """A gradient element is NaN or infinite."""

    def inspect(self, observation: Observation) -> Signal | None:
        """`nonfinite_gradient` with the total norm and the first parameters at fault."""
        if observation.exception is not None or observation.gradient_elements_finite:
            return None
        details: dict[str, Detail] = {
            "grad_norm": observation.grad_norm,
            **_named(observation.bad_gradients),
            **_circumstances(observation),
        }
        return Signal(SignalName.NONFINITE_GRADIENT, details)


class GradientOverflow(_Stateless):
    """Every gradient element is finite, yet the norm, or an element's square, is beyond float32."""

    def inspect(self, observation: Observation) -> Signal | None:
        """`gradient_overflow` with the total norm and the largest element."""
        if observation.exception is not None or not observation.gradient_elements_finite:
            return None
        largest = observation.gradient_max_abs
        if math.isfinite(observation.grad_norm) and (largest is None or largest <= OVERFLOW_BOUND):
            return None
        details: dict[str, Detail] = {"grad_norm": observation.grad_norm}
        if largest is not None:
            details["max_abs"] = largest
        return Signal(SignalName.GRADIENT_OVERFLOW, {**details, **_circumstances(observation)})


class SanitizedValues(_Stateless):
    """The model replaced non-finite values by itself."""

    def inspect(self, observation: Observation) -> Signal | None:
        """`sanitized_values` with their number."""
        if observation.sanitized == 0:
            return None
        return Signal(SignalName.SANITIZED_VALUES, {"count": observation.sanitized})


def nonfinite_detectors() -> dict[str, Detector]:
    """One of each of these detectors, by name."""
    return {
        "step_exception": StepException(),
        "nonfinite_optimizer_state": NonfiniteOptimizerState(),
        "nonfinite_parameter": NonfiniteParameter(),
        "nonfinite_buffer": NonfiniteBuffer(),
        "nonfinite_loss": NonfiniteLoss(),
        "nonfinite_gradient": NonfiniteGradient(),
        "gradient_overflow": GradientOverflow(),
        "sanitized_values": SanitizedValues(),
    }


def finds_nothing(observation: Observation) -> bool:
    """Whether it is plain that none of these detectors finds anything, at a third of the cost of asking each."""
    return (
        observation.exception is None
        and math.isfinite(observation.loss)
        and math.isfinite(observation.grad_norm)
        and observation.gradient_elements_finite
        and observation.gradient_max_abs is None
        and observation.sanitized == 0
        and not (observation.bad_parameters or observation.bad_optimizer_state or observation.bad_buffers)
    )


def _named(tensors: tuple[str, ...]) -> dict[str, Detail]:
    return {"tensors": tensors[:NAMED], "tensor_count": len(tensors)}


def _circumstances(observation: Observation) -> dict[str, Detail]:
    """`batches`: which of the accumulated batches are bad by themselves, by their position in the update, from 0.

    `loss_scale`: the gradient scaler's scale, where there is one.
    """
    details: dict[str, Detail] = {}
    if observation.bad_batches:
        details["batches"] = tuple(str(position) for position in observation.bad_batches)
    if observation.loss_scale is not None:
        details["loss_scale"] = observation.loss_scale
    return details
