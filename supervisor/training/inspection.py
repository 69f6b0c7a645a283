"""The one measurement of an update, and the check of everything that can rot between updates."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from supervisor.headroom import Headroom
from supervisor.signals.nonfinite import OVERFLOW_BOUND
from supervisor.training.headroom import HeadroomReading
from supervisor.training.modules import ModuleWalk, parameter_names
from supervisor.training.norms import (
    alike,
    all_finite,
    can_rot,
    dense,
    first_bad,
    norms,
    norms_in_order,
    norms_on_host,
    on_host,
)
from supervisor.training.optimizers import AnyOptimizer
from supervisor.training.state import TrainingState
from supervisor.training.trainer import Stateful
from supervisor.training.tree import tensors, tensors_in

__all__ = ["GradientInspection", "Measured", "StateCheck", "StateFindings"]


class Measured(NamedTuple):
    """Loss and gradients of one update, as plain numbers.

    Attributes:
        loss: the loss.
        grad_norm: total L2 norm of all gradients.
        sanitized: values that the model replaced.
        flaws: further fields of its `Observation`, None where nothing is wrong with them.
    """

    loss: float
    grad_norm: float
    sanitized: int
    flaws: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class StateFindings:
    """Parameters, buffers and optimizer tensors after an update (see `Observation` for the fields)."""

    bad_parameters: tuple[str, ...] = ()
    bad_optimizer_state: tuple[str, ...] = ()
    weight_norms: Mapping[str, float] = field(default_factory=dict)
    headroom: Headroom | None = None


class GradientInspection:
    """The one measurement of an update.

    The total norm is finite only if every element is, so that a healthy update needs nothing else; squares are
    accumulated in float32 or wider.

    Args:
        names: the parameters whose gradients count, with their names; those added later count too.
    """

    def __init__(self, names: Mapping[Tensor, str]) -> None:
        self._names = names
        self._parameters: list[Tensor] = []

    def measure(self, loss: Tensor, sanitized: Tensor | None, buffers: Sequence[tuple[str, Tensor]] = ()) -> Measured:
        """Inspect the loss, all gradients and what the forward pass wrote, with one host synchronisation.

        Args:
            loss: the scalar loss, after backward.
            sanitized: 0-dimensional count of replaced values, on any device, or None.
            buffers: named buffers that a batch can spoil although loss and gradients stay finite (running statistics).
        """
        if len(self._parameters) != len(self._names):
            self._parameters = list(self._names)
        gradients = [grad for parameter in self._parameters if (grad := parameter.grad) is not None]
        loss = loss.detach() if loss.requires_grad else loss
        parts = [loss.reshape(()) if loss.dim() else loss, *norms(gradients)]
        end = len(parts)
        if buffers:
            parts += norms([buffer for _, buffer in buffers])
        if sanitized is not None:
            parts.append(sanitized.detach().reshape(()).float())
        values = on_host(parts)
        count = int(values.pop()) if sanitized is not None else 0
        norm = math.hypot(*values[1:end])
        if norm > OVERFLOW_BOUND or norm != norm:
            return Measured(values[0], norm, count, self._flaws_of_gradients())
        if all(map(math.isfinite, values[end:])) or not math.isfinite(values[0]):
            # A loss that is not finite says by itself that the batch is bad, and its statistics are no news.
            return Measured(values[0], norm, count, None)
        return Measured(values[0], norm, count, {"bad_buffers": first_bad(buffers)})

    def _flaws_of_gradients(self) -> dict[str, Any]:
        gradients = [(name, dense(p.grad)) for p, name in self._names.items() if p.grad is not None]
        bad = tuple(name for name, grad in gradients if not bool(torch.isfinite(grad).all()))
        if bad:
            return {"gradient_elements_finite": False, "bad_gradients": bad}
        return {"gradient_max_abs": max(float(grad.abs().max()) for _, grad in gradients if grad.numel())}


class StateCheck:
    """Finds what is non-finite in parameters, buffers, registered state and the optimizer.

    What is non-finite when the check is built is exempt, element by element, in buffers (a causal mask of -inf),
    registered state (a best loss of inf) and group options. Registered state and modules' extra state are judged by
    their tensors, not by their plain numbers: a score may be NaN without harm.

    Args:
        model: the model, on its device.
        optimizer: its optimizer, or several as one.
        extra: registered state, by name.
        names: every parameter's name; the very dict that those which come later are added to.
        headroom: what else is read, for forecasts; None for nothing.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: AnyOptimizer,
        extra: Mapping[str, Stateful] | None = None,
        names: Mapping[Tensor, str] | None = None,
        headroom: HeadroomReading | None = None,
    ) -> None:
        self._modules = ModuleWalk(model)
        self._optimizer = optimizer
        self._extra = dict(extra or {})
        self._names = parameter_names(model, optimizer) if names is None else names
        self._headroom = headroom
        self._exempt: dict[str, Tensor] = {}
        held = [*self._beside(), *_options(optimizer.param_groups)]
        self._exempt = {name: ~torch.isfinite(dense(tensor)) for name, tensor in held if not all_finite([tensor])}
        self._in_use = [
            (name, module._buffers, key)
            for name, module, key, buffer in self._modules.buffers()
            if buffer is None or (can_rot(buffer) and math.isfinite(norms_on_host([buffer])[0]))
        ]

    @property
    def exempt_buffers(self) -> tuple[str, ...]:
        """Names of the buffers, and of what is exempt beside them, with exempt elements."""
        return tuple(self._exempt)

    def buffers_in_use(self) -> list[tuple[str, Tensor]]:
        """The buffers, as they are now, whose norm tells whether they are finite.

        Masks of -inf, or of the lowest number there is, have no such norm: they are left to the state check.
        """
        if not self._in_use:
            return []
        held = ((name, buffers.get(key)) for name, buffers, key in self._in_use)
        return [(name, buffer) for name, buffer in held if buffer is not None and can_rot(buffer)]

    def bad_parameters(self) -> tuple[str, ...]:
        """Names of the parameters, buffers and registered tensors that hold a NaN or an infinity.

        One synchronisation if none does. Registered state is named `extra_state.<its name>.<path>`.
        """
        return first_bad([*((n, p) for p, n in self._names.items()), *self._judged(self._beside())])

    def bad_optimizer_state(self) -> tuple[str, ...]:
        """`parameter.state_key`, or `param_groups.<index>.<option>`, of what holds one in the optimizer."""
        held = [item for p, state in self._optimizer.state.items() for item in tensors(state, self._name(p))]
        return first_bad([*held, *self._judged(_options(self._optimizer.param_groups))])

    def is_finite(self) -> bool:
        """True when nothing that a step can change holds a NaN or an infinity; one synchronisation."""
        return all_finite(self._everything())

    def findings(self, update: int) -> StateFindings:
        """What is wrong with the state, and how large its weights are; one synchronisation if nothing is wrong.

        Args:
            update: the update after which it is looked at.
        """
        parts = norms_in_order([tensor for tensor in self._everything() if can_rot(tensor)])
        end = len(parts)
        reading = self._headroom if self._headroom is not None and self._headroom.due(update) else None
        if reading is not None:
            parts += reading.parts()
        values = on_host(parts) if parts else []
        found, headroom = values[:end], None if reading is None else reading.made_of(values[end:])
        # The parameters come first.
        named = [(name, parameter.dim()) for parameter, name in self._names.items() if can_rot(parameter)]
        of_parameters = zip(named, found, strict=False)
        weights = {name: norm for (name, dim), norm in of_parameters if dim >= 2 and math.isfinite(norm)}
        if all(map(math.isfinite, found)):
            return StateFindings(weight_norms=weights, headroom=headroom)
        return StateFindings(self.bad_parameters(), self.bad_optimizer_state(), weights, headroom)

    def _everything(self) -> list[Tensor]:
        """All that a step can change, the parameters first."""
        beside = [*self._beside(), *_options(self._optimizer.param_groups)]
        held = [*self._names, *(tensor for _, tensor in self._judged(beside))]
        counters: list[Tensor] = []
        for state in self._optimizer.state.values():
            for value in state.values() if type(state) is dict else (state,):
                if type(value) is Tensor:
                    (held if value.dim() else counters).append(value)
                else:
                    held += tensors_in(value)
        # One for all of them: a norm of each would take as long as the norms of the moments.
        return [*held, torch.stack(counters)] if counters and alike(counters) else [*held, *counters]

    def bad_in(self, state: TrainingState) -> tuple[str, ...]:
        """Names of the tensors of a captured state that hold one; exempt elements do not count."""
        beside = [(name, buffer) for name, buffer in state.buffers.items() if buffer is not None]
        beside += [*_extra_tensors(state.module_extra, state.extra), *_options(state.optimizer["groups"])]
        return first_bad([*state.parameters.items(), *self._judged(beside), *tensors(state.optimizer["state"])])

    def _beside(self) -> list[tuple[str, Tensor]]:
        """What a forward pass can change: buffers, modules' extra state, registered state."""
        self._modules.refresh()
        held = [(name, buffer) for name, _, _, buffer in self._modules.buffers() if buffer is not None]
        of_modules = {name: module.get_extra_state() for name, module in self._modules.with_extra_state}
        return held + _extra_tensors(of_modules, {name: each.state_dict() for name, each in self._extra.items()})

    def _judged(self, held: Iterable[tuple[str, Tensor]]) -> Iterator[tuple[str, Tensor]]:
        """The tensors with their exempt elements out of the way."""
        for name, tensor in held:
            exempt = self._exempt.get(name)
            if exempt is None or exempt.shape != (values := dense(tensor)).shape:
                yield name, tensor
            else:
                yield name, values.masked_fill(exempt.to(values.device), 0)

    def _name(self, key: Any) -> str:
        return self._names.get(key, "state") if isinstance(key, Tensor) else str(key)


def _extra_tensors(of_modules: Mapping[str, Any], registered: Mapping[str, Any]) -> list[tuple[str, Tensor]]:
    named = {f"{name}._extra_state" if name else "_extra_state": held for name, held in of_modules.items()}
    return [*tensors(named), *tensors(registered, "extra_state")]


PLAIN = (bool, int, str, type(None))
"""Options of a group that cannot rot."""


def _options(groups: Iterable[Mapping[str, Any]]) -> list[tuple[str, Tensor]]:
    """What can rot in parameter groups: their tensors, and numbers that are not finite, as tensors."""
    found: list[tuple[str, Tensor]] = []
    for index, group in enumerate(groups):
        for key, value in group.items():
            if isinstance(value, float):
                # Sound numbers, which is to say all of them, need no tensor.
                found += (
                    [] if math.isfinite(value) else [(f"param_groups.{index}.{key}", torch.tensor(value, device="cpu"))]
                )
            elif key != "params" and not isinstance(value, PLAIN):
                found += tensors(value, f"param_groups.{index}.{key}")
    return found
