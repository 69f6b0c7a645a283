"""Running the flagged step of an incident again, from the files beside its record, in a process of its own."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from supervisor.diagnosis.trace import Origin, Trace
from supervisor.errors import InputError
from supervisor.training.inspection import StateCheck
from supervisor.training.modules import named_modules
from supervisor.training.norms import norms_on_host
from supervisor.training.samples import bad_samples, sample_count
from supervisor.training.state import Subject, VolatileState
from supervisor.training.unfolding import folded
from supervisor.update import LossFunction, NativeExecutor, Place, UpdateSettings

__all__ = ["Rerun", "rerun"]


@dataclass(frozen=True, slots=True)
class Rerun:
    """What one more run of a flagged step showed.

    Attributes:
        loss: the loss; NaN where the step raised before it was known.
        grad_norm: total L2 norm of all gradients, likewise.
        exception: `Type: message` where it raised, else None.
        bad_samples: positions along dimension 0 of the samples that hold a NaN or an infinity, for each batch.
        bad_parameters: parameters and buffers that are not finite before the step.
        bad_gradients: parameters whose gradient is not finite after it.
        gradient_max_abs: the largest gradient element where the norm is beyond the overflow bound, else None.
        bad_buffers: buffers that its forward pass has spoilt, where loss and gradients are finite.
        sanitized: values that the model has replaced.
        forward: where the first bad value of the forward pass was made, None where none was.
        surfaced: the first module that gave a bad value, None where none did.
        backward: where the first bad gradient was made, None where none was.
        largest: the parameters with the largest gradients, with their L2 norms.
    """

    loss: float
    grad_norm: float
    exception: str | None
    bad_samples: tuple[tuple[int, ...], ...]
    bad_parameters: tuple[str, ...]
    bad_gradients: tuple[str, ...]
    gradient_max_abs: float | None
    bad_buffers: tuple[str, ...]
    sanitized: int
    forward: Origin | None
    surfaced: str | None
    backward: Origin | None
    largest: tuple[tuple[str, float], ...]

    @property
    def healthy(self) -> bool:
        """Whether nothing was met that is not finite, or that would not stay so in an optimizer."""
        finite = math.isfinite(self.loss) and math.isfinite(self.grad_norm) and self.gradient_max_abs is None
        return finite and not (self.exception or self.bad_parameters or self.bad_buffers or self.sanitized)


def rerun(
    subject: Subject, settings: UpdateSettings, loss: LossFunction, state: Mapping[str, Any], batches: Sequence[Any]
) -> Rerun:
    """Put the state of an incident into freshly built training objects and run its step once, watched.

    Args:
        subject: the training objects, as the trainer builds them.
        settings: how an update is made, as the guard was told.
        loss: batch -> scalar tensor with a graph.
        state: what `state.pt` holds.
        batches: what `batch.pt` holds.

    Raises:
        InputError: the state is not of this model.
    """
    check = StateCheck(subject.model, subject.optimizer, subject.extra, subject.names)
    _put_back(subject, state)
    batches = folded(list(batches), state.get("batch_kinds", {}))
    trace = Trace(subject.model)
    executor = NativeExecutor(subject, check, replace(settings, accumulate=len(batches)), replay=loss)
    bad = check.bad_parameters()
    with trace.watching():
        found = executor.replay(batches, Place(state["step"], state["update"], replayed=True), trace.loss)
    gradients = subject.gradients()
    norms = zip(gradients, norms_on_host(list(gradients.values())), strict=True)
    made = trace.loss_origin() if found.exception is None and not math.isfinite(found.loss) else None
    # Where no function was seen to make it, nothing is known of where it was made.
    loss_made_it = made if made is not None and made.operation is not None else None
    return Rerun(
        loss=found.loss,
        grad_norm=found.grad_norm,
        exception=found.exception,
        bad_samples=tuple(bad_samples(batch) if sample_count(batch) is not None else () for batch in batches),
        bad_parameters=bad,
        bad_gradients=found.bad_gradients,
        gradient_max_abs=found.gradient_max_abs,
        bad_buffers=found.bad_buffers,
        sanitized=found.sanitized,
        forward=trace.forward_origin() or (loss_made_it if trace.surfaced() is None else None),
        surfaced=trace.surfaced(),
        backward=trace.backward_origin(),
        largest=tuple(sorted(norms, key=lambda item: (math.isnan(item[1]), item[1]), reverse=True)[:3]),
    )


def _put_back(subject: Subject, state: Mapping[str, Any]) -> None:
    names = {name: parameter for parameter, name in subject.names.items()}
    saved = state["parameters"]
    if names.keys() != saved.keys() or any(names[name].shape != saved[name].shape for name in names):
        raise InputError("state.pt is of another model: run the step again with the trainer that the run had")
    with torch.no_grad():
        for name, parameter in names.items():
            parameter.copy_(saved[name])
    modes = tuple(state["training_modes"][name] for name, _ in named_modules(subject.model))
    fields = {key: state[key] for key in ("buffers", "module_extra", "extra", "rng")}
    subject.restore_volatile(VolatileState(**fields, training_modes=modes))
    if subject.scaler is not None and state["scaler"] is not None:
        subject.scaler.load_state_dict(state["scaler"])
