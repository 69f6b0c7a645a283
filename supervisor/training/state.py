"""Everything a training step can change: taken, put back, and turned into what a checkpoint can hold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler
from torch.optim import Optimizer

from supervisor.training.modules import named_modules
from supervisor.training.rng import capture_rng, restore_rng
from supervisor.training.trainer import Stateful
from supervisor.training.tree import clone, copied

__all__ = ["Subject", "TrainingState", "VolatileState"]


@dataclass(frozen=True, slots=True)
class TrainingState:
    """One moment of a training, sharing no tensor with it.

    Attributes:
        parameters: every parameter, by name.
        buffers: every buffer, persistent or not, by name; None where the module holds None.
        module_extra: `get_extra_state` of the modules that have one, by module name.
        optimizer: `state` by parameter name, and the groups' options without their parameters.
        scheduler, scaler: their `state_dict`, None without them.
        extra: `state_dict` of each registered object, by its name.
        rng: see `capture_rng`.
    """

    parameters: dict[str, Tensor]
    buffers: dict[str, Tensor | None]
    module_extra: dict[str, Any]
    optimizer: dict[str, Any]
    scheduler: Any
    scaler: Any
    extra: dict[str, Any]
    rng: dict[str, Any]

    def to_tree(self) -> dict[str, Any]:
        """The fields by name, for a checkpoint."""
        return {name: getattr(self, name) for name in self.__slots__}

    @classmethod
    def from_tree(cls, tree: Mapping[str, Any]) -> TrainingState:
        """The inverse of `to_tree`; KeyError when a field is missing."""
        return cls(**{name: tree[name] for name in cls.__slots__})


@dataclass(frozen=True, slots=True)
class VolatileState:
    """What a forward and backward pass may change although the update is then discarded.

    `training_modes` says of each module whether it was in training mode: a loss that raises half-way through an
    evaluation leaves it otherwise.
    """

    buffers: dict[str, Tensor | None]
    module_extra: dict[str, Any]
    extra: dict[str, Any]
    rng: dict[str, Any]
    training_modes: tuple[bool, ...]


class Subject:
    """The objects under supervision, and how their state is taken and put back.

    Args:
        model: the model, on its device.
        optimizer: its optimizer.
        scheduler: learning-rate scheduler or None.
        scaler: gradient scaler or None.
        extra: further stateful objects, by name.
        names: every parameter's name (`parameter_names`).
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        scheduler: Stateful | None,
        scaler: GradScaler | None,
        extra: Mapping[str, Stateful],
        names: Mapping[Tensor, str],
    ) -> None:
        self.model = model
        self.optimizer = optimizer
        self.scheduler = scheduler
        self.scaler = scaler
        self.extra = dict(extra)
        self.names = names
        self._by_name = {name: parameter for parameter, name in names.items()}
        self._first_buffers = {name: buffer for name, _, _, buffer in _buffers(named_modules(self.model))}

    def capture(self, spare: TrainingState | None = None) -> TrainingState:
        """A copy of everything, on the tensors' own devices.

        Args:
            spare: an earlier copy that nobody needs any more: its memory is used again.
        """
        volatile = self.capture_volatile()
        parameters = {name: p.detach() for name, p in self._by_name.items()}
        return TrainingState(
            parameters=copied(parameters, None if spare is None else spare.parameters),
            buffers=volatile.buffers,
            module_extra=volatile.module_extra,
            optimizer=self._capture_optimizer({} if spare is None else spare.optimizer["state"]),
            scheduler=None if self.scheduler is None else clone(self.scheduler.state_dict()),
            scaler=None if self.scaler is None else clone(self.scaler.state_dict()),
            extra=volatile.extra,
            rng=volatile.rng,
        )

    def restore(self, state: TrainingState) -> None:
        """Put a captured state back; `state` stays as it is and can be restored again."""
        with torch.no_grad():
            for name, parameter in self._by_name.items():
                parameter.copy_(state.parameters[name])
        self._restore_optimizer(state.optimizer)
        if self.scheduler is not None:
            self.scheduler.load_state_dict(clone(state.scheduler))
        if self.scaler is not None:
            self.scaler.load_state_dict(clone(state.scaler))
        modes = tuple([module.training for _, module in named_modules(self.model)])
        self.restore_volatile(VolatileState(state.buffers, state.module_extra, state.extra, state.rng, modes))
        self.drop_gradients()

    def misfit(self, state: TrainingState) -> str | None:
        """Why a state, one from a disk above all, cannot be put back into these objects; None when it can."""
        for name, parameter in self._by_name.items():
            if name not in state.parameters:
                return f"it has no parameter {name}"
            if state.parameters[name].shape != parameter.shape:
                return f"{name} has shape {tuple(state.parameters[name].shape)}, not {tuple(parameter.shape)}"
        surplus = [name for name in state.parameters if name not in self._by_name]
        if surplus:
            return f"it has a parameter {surplus[0]} that the model lacks"
        if len(state.optimizer["groups"]) != len(self.optimizer.param_groups):
            return "its optimizer has another number of parameter groups"
        if (state.scheduler is None) != (self.scheduler is None):
            return "one has a scheduler and the other has none"
        if (state.scaler is None) != (self.scaler is None):
            return "one has a gradient scaler and the other has none"
        modules = dict(named_modules(self.model))
        astray = [name for name in state.buffers if name.rpartition(".")[0] not in modules]
        if astray:
            return f"it has a buffer {astray[0]} of a module that the model lacks"
        with_extra = [name for name, _ in _with_extra(named_modules(self.model))]
        if state.module_extra.keys() != set(with_extra):
            return f"its modules with extra state are {sorted(state.module_extra)}, not {sorted(with_extra)}"
        if state.extra.keys() != self.extra.keys():
            return f"its extra state is of {sorted(state.extra)}, not {sorted(self.extra)}"
        return None

    def capture_volatile(self) -> VolatileState:
        """A copy of buffers, registered state and generators: taken before every batch."""
        modules = named_modules(self.model)
        return VolatileState(
            buffers={name: clone(buffer) for name, _, _, buffer in _buffers(modules)},
            module_extra={name: clone(module.get_extra_state()) for name, module in _with_extra(modules)},
            extra={name: clone(held.state_dict()) for name, held in self.extra.items()},
            rng=capture_rng(),
            training_modes=tuple([module.training for _, module in modules]),
        )

    def discard_update(self, before: VolatileState) -> None:
        """Undo a forward and backward pass whose update was not applied.

        A gradient scaler that found an overflow does its own back-off.
        """
        self.drop_gradients()
        self.restore_volatile(before)
        if self.scaler is None or not self.scaler.is_enabled():
            return
        if self._scaler_found_overflow(self.scaler):
            self.scaler.update()
        else:
            # What `update` does at the end of a step, without counting the step towards growth.
            self.scaler._per_optimizer_states.clear()

    def _scaler_found_overflow(self, scaler: GradScaler) -> bool:
        found = scaler._found_inf_per_device(self.optimizer)
        return any(float(flag) > 0 for flag in found.values())

    def restore_volatile(self, state: VolatileState) -> None:
        """Put back what `capture_volatile` gave; `state` stays as it is and can be restored again."""
        self._restore_buffers(state.buffers)
        for name, module in _with_extra(named_modules(self.model)):
            module.set_extra_state(clone(state.module_extra[name]))
        for name, held in self.extra.items():
            held.load_state_dict(clone(state.extra[name]))
        for (_, module), mode in zip(named_modules(self.model), state.training_modes, strict=False):
            module.training = mode
        restore_rng(state.rng)

    def _restore_buffers(self, saved: Mapping[str, Tensor | None]) -> None:
        for name, module, key, _ in list(_buffers(named_modules(self.model))):
            if name not in saved:
                delattr(module, key)
        modules = dict(named_modules(self.model))
        for name, value in saved.items():
            prefix, _, key = name.rpartition(".")
            held = modules[prefix]._buffers
            current, first = held.get(key), self._first_buffers.get(name)
            if value is None:
                held[key] = None
            elif first is current and current is not None and _fits(current, value):
                with torch.no_grad():
                    current.copy_(value)
            else:
                # A buffer that the model assigned may be the batch itself: it is replaced, not written to.
                like = next((t for t in (current, first, *self.names) if t is not None), value)
                held[key] = value.to(like.device, copy=True)

    def drop_gradients(self) -> None:
        """Forget all gradients, those of parameters that the optimizer does not hold included."""
        for parameter in self.names:
            parameter.grad = None

    def _capture_optimizer(self, spare: Mapping[str, Any]) -> dict[str, Any]:
        named = {self.names[parameter]: held for parameter, held in self.optimizer.state.items()}
        state = {name: copied(held, spare.get(name)) for name, held in named.items()}
        groups = [
            {key: clone(value) for key, value in group.items() if key != "params"}
            for group in self.optimizer.param_groups
        ]
        return {"state": state, "groups": groups}

    def _restore_optimizer(self, saved: Mapping[str, Any]) -> None:
        # Not `load_state_dict`: it keeps the very tensors it is given, and casts moments to the parameters' type.
        state = self.optimizer.state
        for parameter in [p for p in state if self.names[p] not in saved["state"]]:
            del state[parameter]
        for name, held in saved["state"].items():
            parameter = self._by_name[name]
            state[parameter] = _merged(state.get(parameter, {}), held, parameter.device)
        for group, options in zip(self.optimizer.param_groups, saved["groups"], strict=True):
            for key, value in options.items():
                current = group.get(key, None)
                group[key] = _merged(current, value, None)


Modules = list[tuple[str, nn.Module]]


def _buffers(modules: Modules) -> Iterator[tuple[str, nn.Module, str, Tensor | None]]:
    for prefix, module in modules:
        for key, buffer in module._buffers.items():
            yield f"{prefix}.{key}" if prefix else key, module, key, buffer


def _with_extra(modules: Modules) -> Iterator[tuple[str, nn.Module]]:
    for name, module in modules:
        if type(module).get_extra_state is not nn.Module.get_extra_state:
            yield name, module


def _fits(current: Tensor, saved: Tensor) -> bool:
    return current.shape == saved.shape and current.dtype == saved.dtype


def _merged(current: Any, saved: Any, device: torch.device | None) -> Any:
    """`saved`, copied into the tensors of `current` where they fit, so that captured graphs keep their addresses."""
    if isinstance(saved, Tensor):
        if isinstance(current, Tensor) and _fits(current, saved):
            with torch.no_grad():
                return current.copy_(saved)
        # Step counters stay on the host, as the optimizer keeps them; moments go to their parameter.
        return saved.clone() if device is None or saved.dim() == 0 else saved.to(device, copy=True)
    if isinstance(saved, dict):
        known = current if isinstance(current, dict) else {}
        return {key: _merged(known.get(key, None), value, device) for key, value in saved.items()}
    return clone(saved)
