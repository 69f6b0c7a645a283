"""The one measurement of an update, and the check of everything that can rot between updates."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from supervisor.signals.nonfinite import OVERFLOW_BOUND
from supervisor.training.modules import buffers_of, named_modules, with_extra_state
from supervisor.training.names import parameter_names
from supervisor.training.optimizers import AnyOptimizer
from supervisor.training.state import TrainingState
from supervisor.training.trainer import Stateful
from supervisor.training.tree import tensors, tensors_in

__all__ = ["GradientInspection", "Measured", "StateCheck", "StateFindings", "all_finite"]


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
        parts = [loss.detach().reshape(()), *_norms(gradients)]
        end = len(parts)
        if buffers:
            parts += _norms([buffer for _, buffer in buffers])
        if sanitized is not None:
            parts.append(sanitized.detach().reshape(()).float())
        values = _on_host(parts)
        count = int(values.pop()) if sanitized is not None else 0
        norm = math.hypot(*values[1:end])
        if norm > OVERFLOW_BOUND or norm != norm:
            return Measured(values[0], norm, count, self._flaws_of_gradients())
        if all(map(math.isfinite, values[end:])) or not math.isfinite(values[0]):
            # A loss that is not finite says by itself that the batch is bad, and its statistics are no news.
            return Measured(values[0], norm, count, None)
        return Measured(values[0], norm, count, {"bad_buffers": _first_bad(buffers)})

    def _flaws_of_gradients(self) -> dict[str, Any]:
        gradients = [(name, _dense(p.grad)) for p, name in self._names.items() if p.grad is not None]
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
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: AnyOptimizer,
        extra: Mapping[str, Stateful] | None = None,
        names: Mapping[Tensor, str] | None = None,
    ) -> None:
        self._model = model
        self._optimizer = optimizer
        self._extra = dict(extra or {})
        self._names = parameter_names(model, optimizer) if names is None else names
        self._exempt: dict[str, Tensor] = {}
        held = [*self._beside(), *_options(optimizer.param_groups)]
        self._exempt = {name: ~torch.isfinite(_dense(tensor)) for name, tensor in held if not all_finite([tensor])}
        self._in_use = [
            (name, module._buffers, key)
            for name, module, key, buffer in buffers_of(named_modules(model))
            if buffer is None or (_can_rot(buffer) and _has_finite_norm(buffer))
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
        return [(name, buffer) for name, buffer in held if buffer is not None and _can_rot(buffer)]

    def bad_parameters(self) -> tuple[str, ...]:
        """Names of the parameters, buffers and registered tensors that hold a NaN or an infinity.

        One synchronisation if none does. Registered state is named `extra_state.<its name>.<path>`.
        """
        return _first_bad([*((n, p) for p, n in self._names.items()), *self._judged(self._beside())])

    def bad_optimizer_state(self) -> tuple[str, ...]:
        """`parameter.state_key`, or `param_groups.<index>.<option>`, of what holds one in the optimizer."""
        held = [item for p, state in self._optimizer.state.items() for item in tensors(state, self._name(p))]
        return _first_bad([*held, *self._judged(_options(self._optimizer.param_groups))])

    def is_finite(self) -> bool:
        """True when nothing that a step can change holds a NaN or an infinity; one synchronisation."""
        return all_finite(self._everything())

    def findings(self) -> StateFindings:
        """What is wrong with the state, and how large its weights are; one synchronisation if nothing is wrong."""
        norms = _norms_on_host([tensor for tensor in self._everything() if _can_rot(tensor)])
        of_parameters = zip(filter(_can_rot, self._names), norms, strict=False)
        weights = {self._names[p]: norm for p, norm in of_parameters if p.dim() >= 2 and math.isfinite(norm)}
        if all(map(math.isfinite, norms)):
            return StateFindings(weight_norms=weights)
        return StateFindings(self.bad_parameters(), self.bad_optimizer_state(), weights)

    def _everything(self) -> list[Tensor]:
        """All that a step can change, the parameters first."""
        beside = [*self._beside(), *_options(self._optimizer.param_groups)]
        held = [*self._names, *(tensor for _, tensor in self._judged(beside))]
        for state in self._optimizer.state.values():
            for value in state.values() if type(state) is dict else (state,):
                held += (value,) if type(value) is Tensor else tensors_in(value)
        return held

    def bad_in(self, state: TrainingState) -> tuple[str, ...]:
        """Names of the tensors of a captured state that hold one; exempt elements do not count."""
        beside = [(name, buffer) for name, buffer in state.buffers.items() if buffer is not None]
        beside += [*_extra_tensors(state.module_extra, state.extra), *_options(state.optimizer["groups"])]
        return _first_bad([*state.parameters.items(), *self._judged(beside), *tensors(state.optimizer["state"])])

    def _beside(self) -> list[tuple[str, Tensor]]:
        """What a forward pass can change: buffers, modules' extra state, registered state."""
        modules = named_modules(self._model)
        held = [(name, buffer) for name, _, _, buffer in buffers_of(modules) if buffer is not None]
        of_modules = {name: module.get_extra_state() for name, module in with_extra_state(modules)}
        return held + _extra_tensors(of_modules, {name: each.state_dict() for name, each in self._extra.items()})

    def _judged(self, held: Iterable[tuple[str, Tensor]]) -> Iterator[tuple[str, Tensor]]:
        """The tensors with their exempt elements out of the way."""
        for name, tensor in held:
            exempt = self._exempt.get(name)
            if exempt is None or exempt.shape != (dense := _dense(tensor)).shape:
                yield name, tensor
            else:
                yield name, dense.masked_fill(exempt.to(dense.device), 0)

    def _name(self, key: Any) -> str:
        return self._names.get(key, "state") if isinstance(key, Tensor) else str(key)


def _extra_tensors(of_modules: Mapping[str, Any], registered: Mapping[str, Any]) -> list[tuple[str, Tensor]]:
    named = {f"{name}._extra_state" if name else "_extra_state": held for name, held in of_modules.items()}
    return [*tensors(named), *tensors(registered, "extra_state")]


def _options(groups: Iterable[Mapping[str, Any]]) -> list[tuple[str, Tensor]]:
    """What can rot in parameter groups: their tensors, and numbers that are not finite, as tensors."""
    found: list[tuple[str, Tensor]] = []
    for index, group in enumerate(groups):
        for key, value in group.items():
            if isinstance(value, float):
                # Sound numbers, which is to say all of them, need no tensor.
                found += [] if math.isfinite(value) else [(f"param_groups.{index}.{key}", torch.tensor(value))]
            elif key != "params" and not isinstance(value, (bool, int, str, type(None))):
                found += tensors(value, f"param_groups.{index}.{key}")
    return found


def all_finite(held: Iterable[Tensor]) -> bool:
    """True when no element is NaN or infinite; one synchronisation on the healthy path."""
    floating = [tensor for tensor in held if _can_rot(tensor)]
    if not floating or all(map(math.isfinite, _on_host(_norms(floating)))):
        return True
    # Finite elements can have an infinite norm: only the elements decide.
    return all(bool(torch.isfinite(_dense(tensor)).all()) for tensor in floating)


def _has_finite_norm(tensor: Tensor) -> bool:
    return math.isfinite(float(_norms([tensor])[0]))


def _first_bad(named: Sequence[tuple[str, Tensor]]) -> tuple[str, ...]:
    if all_finite(tensor for _, tensor in named):
        return ()
    return tuple(name for name, tensor in named if not all_finite([tensor]))


def _can_rot(tensor: Tensor) -> bool:
    return (tensor.is_floating_point() or tensor.is_complex()) and tensor.numel() > 0


def _dense(tensor: Tensor) -> Tensor:
    """The elements that count: the values of a sparse tensor, both halves of a complex one."""
    if tensor.is_sparse:
        tensor = tensor.detach().coalesce().values()
    return torch.view_as_real(tensor.detach().resolve_conj()) if tensor.is_complex() else tensor


def _norms(held: list[Tensor]) -> Sequence[Tensor]:
    """The L2 norm of each tensor, 0-dimensional, accumulated in float32 or wider; in the order of `_grouped`."""
    if not held:
        return ()
    with torch.no_grad():
        if _alike(held):
            return torch._foreach_norm(held, 2)
        found: list[Tensor] = []
        for (_, dtype), group in _grouped([_dense(tensor) for tensor in held]).items():
            wide = torch.promote_types(dtype, torch.float32)
            found += torch._foreach_norm([tensor for _, tensor in group], 2, wide)
        return found


def _norms_on_host(held: list[Tensor]) -> list[float]:
    """The L2 norm of each tensor, in the order of `held`; one synchronisation."""
    if not held:
        return []
    values = _on_host(_norms(held))
    if _alike(held):
        return values
    order = [index for group in _grouped([_dense(tensor) for tensor in held]).values() for index, _ in group]
    norms = dict(zip(order, values, strict=True))
    return [norms[index] for index in range(len(held))]


def _alike(held: Sequence[Tensor]) -> bool:
    """Whether one call can take all of them as they are: dense single-precision numbers on one device."""
    device = held[0].device
    for tensor in held:
        if tensor.dtype is not torch.float32 or tensor.layout is not torch.strided or tensor.device != device:
            return False
    return True


def _grouped(held: Iterable[Tensor]) -> dict[tuple[torch.device, torch.dtype], list[tuple[int, Tensor]]]:
    """Tensors with their positions, those of a kind together."""
    groups: dict[tuple[torch.device, torch.dtype], list[tuple[int, Tensor]]] = {}
    for index, tensor in enumerate(held):
        groups.setdefault((tensor.device, tensor.dtype), []).append((index, tensor))
    return groups


def _on_host(parts: Sequence[Tensor]) -> list[float]:
    """The values of 0-dimensional tensors, with one synchronisation whatever devices they are on."""
    away = [part for part in parts if not part.is_cpu]
    if not away:
        # Of mixed types the widest holds them all.
        values: list[float] = torch.stack(list(parts)).tolist()
        return values
    # Those of several devices meet on one of them; those on the host are at hand, and to send them there would wait.
    read = iter(torch.stack([part.to(away[0].device) for part in away]).tolist())
    return [part.item() if part.is_cpu else next(read) for part in parts]
