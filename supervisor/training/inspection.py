"""The one measurement of an update, and the check of everything that can rot between updates."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from supervisor.signals.nonfinite import OVERFLOW_BOUND
from supervisor.training.modules import named_modules
from supervisor.training.state import TrainingState
from supervisor.training.tree import tensors, tensors_in

__all__ = ["GradientFindings", "StateCheck", "all_finite", "measure", "parameter_names"]


@dataclass(frozen=True, slots=True)
class GradientFindings:
    """Loss and gradients of one update, as plain numbers (see `Observation` for the fields)."""

    loss: float
    grad_norm: float
    elements_finite: bool = True
    max_abs: float | None = None
    bad: tuple[str, ...] = ()
    bad_buffers: tuple[str, ...] = ()
    sanitized: int = 0


def parameter_names(model: nn.Module, optimizer: Optimizer) -> dict[Tensor, str]:
    """Every parameter that a step can change, with its name; those of the optimizer alone get a number."""
    names: dict[Tensor, str] = {parameter: name for name, parameter in model.named_parameters()}
    for index, group in enumerate(optimizer.param_groups):
        for position, parameter in enumerate(group["params"]):
            names.setdefault(parameter, f"param_groups.{index}.{position}")
    return names


def measure(
    loss: Tensor,
    names: Mapping[Tensor, str],
    sanitized: Tensor | None,
    buffers: Sequence[tuple[str, Tensor]] = (),
) -> GradientFindings:
    """Inspect the loss, all gradients and what the forward pass wrote, with one host synchronisation.

    Args:
        loss: the scalar loss, after backward.
        names: the parameters whose gradients count, with their names.
        sanitized: 0-dimensional count of replaced values, on any device, or None.
        buffers: named buffers that a batch can spoil although loss and gradients stay finite (running statistics).

    The total norm is finite only if every element is, so that the healthy path needs nothing else; squares are
    accumulated in float32 or wider.
    """
    gradients = [(name, p.grad) for p, name in names.items() if p.grad is not None]
    of_gradients = _norms(_dense(grad) for _, grad in gradients)
    parts = [loss.detach().reshape(()), *of_gradients, *_norms(_dense(buffer) for _, buffer in buffers)]
    if sanitized is not None:
        parts.append(sanitized.detach().reshape(()).double())
    values = _on_host(parts, loss.device)
    count = int(values.pop()) if sanitized is not None else 0
    loss_value, of_buffers = values[0], values[1 + len(of_gradients) :]
    norm = math.hypot(*values[1 : 1 + len(of_gradients)])
    if norm <= OVERFLOW_BOUND:
        # A loss that is not finite says by itself that the batch is bad, and its statistics are no news.
        suspect = not all(map(math.isfinite, of_buffers)) and math.isfinite(loss_value)
        return GradientFindings(loss_value, norm, bad_buffers=_first_bad(buffers) if suspect else (), sanitized=count)
    bad = tuple(name for name, grad in gradients if not bool(torch.isfinite(_dense(grad)).all()))
    if bad:
        return GradientFindings(loss_value, norm, elements_finite=False, bad=bad, sanitized=count)
    largest = max(float(_dense(grad).abs().max()) for _, grad in gradients if _dense(grad).numel())
    return GradientFindings(loss_value, norm, max_abs=largest, sanitized=count)


class StateCheck:
    """Finds non-finite parameters, buffers and optimizer tensors.

    Buffer elements that are non-finite when the check is built (a causal mask of -inf) are exempt.

    Args:
        model: the model, on its device.
        optimizer: its optimizer.
    """

    def __init__(self, model: nn.Module, optimizer: Optimizer) -> None:
        self._model = model
        self._optimizer = optimizer
        self._names = parameter_names(model, optimizer)
        self._exempt = {
            name: ~torch.isfinite(buffer) for name, buffer in model.named_buffers() if not all_finite([buffer])
        }
        self._in_use = [
            (f"{prefix}.{key}" if prefix else key, module._buffers, key)
            for prefix, module in model.named_modules()
            for key, buffer in module._buffers.items()
            if buffer is None or (_can_rot(buffer) and _has_finite_norm(buffer))
        ]

    @property
    def exempt_buffers(self) -> tuple[str, ...]:
        """Names of the buffers with exempt elements."""
        return tuple(self._exempt)

    def buffers_in_use(self) -> list[tuple[str, Tensor]]:
        """The buffers, as they are now, whose norm tells whether they are finite.

        Masks of -inf, or of the lowest number there is, have no such norm: they are left to the state check.
        """
        held = ((name, buffers.get(key)) for name, buffers, key in self._in_use)
        return [(name, buffer) for name, buffer in held if buffer is not None and _can_rot(buffer)]

    def bad_parameters(self) -> tuple[str, ...]:
        """Names of the parameters and buffers that hold a NaN or an infinity; one synchronisation if none."""
        return _first_bad([*((n, p) for p, n in self._names.items()), *self._buffers()])

    def bad_optimizer_state(self) -> tuple[str, ...]:
        """`parameter.state_key` of the optimizer tensors that hold one."""
        return _first_bad(list(self._optimizer_tensors()))

    def is_finite(self) -> bool:
        """True when nothing that a step can change holds a NaN or an infinity; one synchronisation."""
        held = [*self._names, *(buffer for _, buffer in self._buffers())]
        for state in self._optimizer.state.values():
            held += tensors_in(state)
        return all_finite(held)

    def findings(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """`bad_parameters` and `bad_optimizer_state`; one synchronisation for both if there are none."""
        return ((), ()) if self.is_finite() else (self.bad_parameters(), self.bad_optimizer_state())

    def bad_in(self, state: TrainingState) -> tuple[str, ...]:
        """Names of the tensors of a captured state that hold one; exempt elements do not count."""
        held = [*state.parameters.items()]
        held += [(name, self._judged(name, b)) for name, b in state.buffers.items() if b is not None]
        held += tensors(state.optimizer["state"])
        return _first_bad(held)

    def _buffers(self) -> Iterator[tuple[str, Tensor]]:
        for prefix, module in named_modules(self._model):
            for key, buffer in module._buffers.items():
                if buffer is not None:
                    name = f"{prefix}.{key}" if prefix else key
                    yield name, self._judged(name, buffer)

    def _judged(self, name: str, buffer: Tensor) -> Tensor:
        """The buffer with its exempt elements out of the way."""
        if name not in self._exempt or self._exempt[name].shape != buffer.shape:
            return buffer
        return buffer.masked_fill(self._exempt[name].to(buffer.device), 0)

    def _optimizer_tensors(self) -> Iterator[tuple[str, Tensor]]:
        for parameter, state in self._optimizer.state.items():
            yield from tensors(state, self._names.get(parameter, "state"))


def all_finite(held: Iterable[Tensor]) -> bool:
    """True when no element is NaN or infinite; one synchronisation a device on the healthy path."""
    dense = [_dense(tensor) for tensor in held if _can_rot(tensor)]
    if not dense:
        return True
    if all(map(math.isfinite, _on_host(_norms(dense), dense[0].device))):
        return True
    # Finite elements can have an infinite norm: only the elements decide.
    return all(bool(torch.isfinite(tensor).all()) for tensor in dense)


def _has_finite_norm(tensor: Tensor) -> bool:
    return math.isfinite(float(_norms([_dense(tensor)])[0]))


def _first_bad(named: Sequence[tuple[str, Tensor]]) -> tuple[str, ...]:
    if all_finite(tensor for _, tensor in named):
        return ()
    return tuple(name for name, tensor in named if not all_finite([tensor]))


def _can_rot(tensor: Tensor) -> bool:
    return (tensor.is_floating_point() or tensor.is_complex()) and tensor.numel() > 0


def _dense(tensor: Tensor) -> Tensor:
    """The elements that count, without a graph: the values of a sparse tensor, both halves of a complex one."""
    tensor = tensor.detach()
    if tensor.is_sparse:
        tensor = tensor.coalesce().values()
    return torch.view_as_real(tensor.resolve_conj()) if tensor.is_complex() else tensor


def _norms(held: Iterable[Tensor]) -> list[Tensor]:
    """The L2 norm of each tensor, 0-dimensional, accumulated in float32 or wider; one call for all of a kind."""
    groups: dict[tuple[torch.device, torch.dtype], list[Tensor]] = {}
    for tensor in held:
        groups.setdefault((tensor.device, tensor.dtype), []).append(tensor)
    return [
        norm
        for (_, dtype), group in groups.items()
        for norm in torch._foreach_norm(group, 2, torch.promote_types(dtype, torch.float32))
    ]


def _on_host(parts: Sequence[Tensor], device: torch.device) -> list[float]:
    """The values of 0-dimensional tensors, gathered on `device` and read with one synchronisation."""
    here = [part if part.device == device else part.to(device) for part in parts]
    # Of mixed types the widest holds them all.
    values: list[float] = torch.stack(here).tolist()
    return values
