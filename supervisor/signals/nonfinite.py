"""The findings that no policy can turn off: what must never reach the weights."""

from __future__ import annotations

import math

from supervisor.records import Detail, Observation, Signal, SignalName

__all__ = ["NAMED", "OVERFLOW_BOUND", "nonfinite_signals"]

OVERFLOW_BOUND = 1e18
"""A gradient element beyond this squares to more than float32 holds, which makes a second moment infinite for ever."""

NAMED = 3
"""How many of the tensors at fault a signal names; it also says how many there are."""


def nonfinite_signals(observation: Observation) -> list[Signal]:
    """Everything about one observation that is not finite, or was not.

    `step_exception` has the exception's type and message and the line in the user's code; `nonfinite_loss` the loss;
    `nonfinite_gradient` and `gradient_overflow` the total norm; every finding about tensors the first ones at fault.

    Running statistics are spoilt by a forward pass although loss and gradients are finite (`nonfinite_buffer`). The
    discarded update puts them back, so that only the batch is at fault. A buffer that is bad even then was bad before
    the batch: that is `nonfinite_parameter`.
    """
    found: list[Signal] = []
    raised = observation.exception is not None
    if raised:
        found.append(Signal(SignalName.STEP_EXCEPTION, {**_raised(observation), **_circumstances(observation)}))
    if observation.bad_optimizer_state:
        found.append(Signal(SignalName.NONFINITE_OPTIMIZER_STATE, _named(observation.bad_optimizer_state)))
    if observation.bad_parameters:
        found.append(Signal(SignalName.NONFINITE_PARAMETER, _named(observation.bad_parameters)))
    if observation.bad_buffers:
        spoilt = tuple(name for name in observation.bad_buffers if name not in observation.bad_parameters)
        if spoilt:
            found.append(Signal(SignalName.NONFINITE_BUFFER, {**_named(spoilt), **_circumstances(observation)}))
    loss, norm, largest = observation.loss, observation.grad_norm, observation.gradient_max_abs
    if not math.isfinite(loss) and not raised:
        found.append(Signal(SignalName.NONFINITE_LOSS, {"loss": loss, **_circumstances(observation)}))
    details: dict[str, Detail]
    if not observation.gradient_elements_finite and not raised:
        details = {"grad_norm": norm, **_named(observation.bad_gradients), **_circumstances(observation)}
        found.append(Signal(SignalName.NONFINITE_GRADIENT, details))
    elif not (math.isfinite(norm) and (largest is None or largest <= OVERFLOW_BOUND)) and not raised:
        details = {"grad_norm": norm} if largest is None else {"grad_norm": norm, "max_abs": largest}
        found.append(Signal(SignalName.GRADIENT_OVERFLOW, {**details, **_circumstances(observation)}))
    if observation.sanitized:
        found.append(Signal(SignalName.SANITIZED_VALUES, {"count": observation.sanitized}))
    return found


def _raised(observation: Observation) -> dict[str, Detail]:
    details = {"exception": observation.exception, "where": observation.exception_where}
    return {key: text for key, text in details.items() if text is not None}


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
