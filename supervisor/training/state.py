"""Everything a training step can change: taken, put back, and turned into what a checkpoint can hold."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler

from supervisor.errors import InputError
from supervisor.training.modules import ModuleWalk, buffers_of, named_modules, parameter_names, with_extra_state
from supervisor.training.optimizer_state import captured_groups, fits, groups_by_name, restore_optimizer, state_by_name
from supervisor.training.optimizers import AnyOptimizer, members
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
        optimizer: `state` by parameter name, and the groups' options with the names of their parameters.
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


@dataclass(slots=True)
class VolatileState:
    """What a forward and backward pass may change although the update is then discarded. Nothing writes to it.

    `training_modes` are those of all modules: a loss that raises half-way through an evaluation leaves them otherwise.
    """

    buffers: dict[str, Tensor | None]
    module_extra: dict[str, Any]
    extra: dict[str, Any]
    rng: dict[str, Any]
    training_modes: tuple[bool, ...]

    @classmethod
    def of(cls, state: TrainingState, training_modes: tuple[bool, ...]) -> VolatileState:
        """What a state holds of this; it holds no modes."""
        return cls(state.buffers, state.module_extra, state.extra, state.rng, training_modes)


class Subject:
    """The objects under supervision, and how their state is taken and put back.

    Parameters may come later (`optimizer.add_param_group`, to train a backbone that was frozen): they are taken up
    before the next batch. Going back to a state from before then gives them the values they had in that state, or,
    where it does not know them, those they came with. Their group stays, with its options, and begins without moments:
    what the optimizer holds is the caller's, what it has learnt is the state's. `requires_grad` is the caller's too.

    Args:
        model: the model, on its device.
        optimizer: its optimizer, or several as one.
        scheduler: learning-rate scheduler or None.
        scaler: gradient scaler or None.
        extra: further stateful objects, by name.
        names: every parameter's name (`parameter_names`); those that come later are added to it.

    Attributes:
        after_restore: called after a state was put back, to renew what outlives it.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: AnyOptimizer,
        scheduler: Stateful | None,
        scaler: GradScaler | None,
        extra: Mapping[str, Stateful],
        names: dict[Tensor, str],
    ) -> None:
        self.model = model
        self.optimizer = optimizer
        self.scheduler = scheduler
        self.scaler = scaler
        self.extra = dict(extra)
        self.names = names
        self._by_name = {name: parameter for parameter, name in names.items()}
        self._modules = ModuleWalk(model)
        self._first_buffers = {name: buffer for name, _, _, buffer in self._modules.buffers()}
        self._first_groups = len(optimizer.param_groups)
        self._held = self._held_by_optimizer()
        self._later: dict[str, Tensor] = {}
        self.after_restore: list[Callable[[], object]] = []

    def take_up_new_parameters(self) -> None:
        """Notice what was added to the optimizer since it was last asked; nothing is done where nothing was.

        Raises:
            InputError: the model itself has other parameters, or what was added is not finite.
        """
        held, other_modules = self._held_by_optimizer(), self._modules.refresh()
        if self._held == held and not other_modules:
            return
        self._held = held
        modelled = set(self.model.parameters())
        for parameter, name in parameter_names(self.model, self.optimizer).items():
            if parameter in self.names:
                continue
            if parameter in modelled or name in self._by_name:
                what = f"model: {name} is new since the guard was built"
                raise InputError(f"{what}: build the model whole first, and freeze what is trained later")
            if not bool(torch.isfinite(parameter.detach()).all()):
                raise InputError(f"optimizer: {name} is not finite as it is added: mend its initial values")
            self.names[parameter] = name
            self._by_name[name] = parameter
            self._later[name] = clone(parameter)

    @property
    def loss_scale(self) -> float | None:
        """The gradient scaler's scale, None without one; asking for it waits for the device."""
        return self.scaler.get_scale() if self.scaler is not None and self.scaler.is_enabled() else None

    def capture(self, spare: TrainingState | None = None, before: VolatileState | None = None) -> TrainingState:
        """A copy of everything, on the tensors' own devices.

        Args:
            spare: an earlier copy that nobody needs any more: its memory is used again.
            before: taken before a forward pass, whose traces the copy shall not have; nothing may write to it.
        """
        volatile = before or self.capture_volatile()
        held = {"parameters": self._by_name, "state": state_by_name(self.optimizer, self.names)}
        memory = None if spare is None else {"parameters": spare.parameters, "state": spare.optimizer["state"]}
        copies = copied(held, memory)
        return TrainingState(
            parameters=copies["parameters"],
            buffers=volatile.buffers,
            module_extra=volatile.module_extra,
            optimizer={"state": copies["state"], "groups": captured_groups(self.optimizer, self.names)},
            scheduler=None if self.scheduler is None else clone(self.scheduler.state_dict()),
            scaler=None if self.scaler is None else clone(self.scaler.state_dict()),
            extra=volatile.extra,
            rng=volatile.rng,
        )

    def restore(self, state: TrainingState) -> None:
        """Put a captured state back; `state` stays as it is and can be restored again."""
        self.take_up_new_parameters()
        values = {**self._later, **state.parameters}
        with torch.no_grad():
            for name, parameter in self._by_name.items():
                parameter.copy_(values[name])
        restore_optimizer(self.optimizer, self.names, state.optimizer)
        if self.scheduler is not None:
            self.scheduler.load_state_dict(clone(state.scheduler))
        if self.scaler is not None:
            self.scaler.load_state_dict(clone(state.scaler))
        modes = tuple([module.training for _, module in named_modules(self.model)])
        self.restore_volatile(VolatileState.of(state, modes))
        self.drop_gradients()
        for renew in self.after_restore:
            renew()

    def misfit(self, state: TrainingState) -> str | None:
        """Why a state, one from a disk above all, cannot be put back into these objects; None when it can."""
        self.take_up_new_parameters()
        surplus = [name for name in state.parameters if name not in self._by_name]
        for name, parameter in self._by_name.items():
            if name not in state.parameters:
                if name in self._later:
                    continue
                return f"it has no parameter {name}" + (f", but has {surplus[0]}" if surplus else "")
            if state.parameters[name].shape != parameter.shape:
                return f"{name} has shape {tuple(state.parameters[name].shape)}, not {tuple(parameter.shape)}"
        if surplus:
            return f"it has a parameter {surplus[0]} that the model lacks"
        if not self._first_groups <= len(state.optimizer["groups"]) <= len(self.optimizer.param_groups):
            return (
                f"its optimizer has another number of parameter groups ({len(state.optimizer['groups'])}): "
                "add to the optimizer what it held then, before the guard resumes"
            )
        groups = groups_by_name(self.optimizer.param_groups, self.names)
        other = [name for name in groups_by_name(state.optimizer["groups"], self.names) if name not in groups]
        if other:
            return f"its optimizer has a parameter group that begins with {other[0]}: add it before the guard resumes"
        if (state.scheduler is None) != (self.scheduler is None):
            return "one has a scheduler and the other has none"
        if (state.scaler is None) != (self.scaler is None):
            return "one has a gradient scaler and the other has none"
        modules = dict(named_modules(self.model))
        astray = [name for name in state.buffers if name.rpartition(".")[0] not in modules]
        if astray:
            return f"it has a buffer {astray[0]} of a module that the model lacks"
        with_extra = [name for name, _ in with_extra_state(named_modules(self.model))]
        if state.module_extra.keys() != set(with_extra):
            return f"its modules with extra state are {sorted(state.module_extra)}, not {sorted(with_extra)}"
        if state.extra.keys() != self.extra.keys():
            return f"its extra state is of {sorted(state.extra)}, not {sorted(self.extra)}"
        return None

    def capture_volatile(self) -> VolatileState:
        """A copy of buffers, registered state and generators: taken before every batch."""
        self.take_up_new_parameters()
        modules = self._modules
        return VolatileState(
            {name: clone(buffer) for name, _, _, buffer in modules.buffers()},
            {name: clone(module.get_extra_state()) for name, module in modules.with_extra_state},
            {name: clone(held.state_dict()) for name, held in self.extra.items()},
            capture_rng(),
            tuple([module.training for module in modules.plain]),
        )

    def discard_update(self, before: VolatileState) -> None:
        """Undo a forward and backward pass whose update was not applied.

        A gradient scaler that found an overflow does its own back-off.
        """
        backs_off = self.scaler is not None and self.scaler.is_enabled() and self._scaler_found_overflow(self.scaler)
        if self.scaler is not None and backs_off:
            self.scaler.update()
        self.forget_update(before)

    def forget_update(self, before: VolatileState) -> None:
        """The same without the back-off, for an update that was broken off: it may have come to no finding at all."""
        self.drop_gradients()
        self.restore_volatile(before)

    def _scaler_found_overflow(self, scaler: GradScaler) -> bool:
        found = [flag for each in members(self.optimizer) for flag in scaler._found_inf_per_device(each).values()]
        return any(float(flag) > 0 for flag in found)

    def restore_volatile(self, state: VolatileState) -> None:
        """Put back what `capture_volatile` gave; `state` stays as it is and can be restored again."""
        self._restore_buffers(state.buffers)
        for name, module in with_extra_state(named_modules(self.model)):
            module.set_extra_state(clone(state.module_extra[name]))
        for name, held in self.extra.items():
            held.load_state_dict(clone(state.extra[name]))
        for (_, module), mode in zip(named_modules(self.model), state.training_modes, strict=False):
            module.training = mode
        restore_rng(state.rng)

    def _restore_buffers(self, saved: Mapping[str, Tensor | None]) -> None:
        for name, module, key, _ in list(buffers_of(named_modules(self.model))):
            if name not in saved:
                delattr(module, key)
        modules = dict(named_modules(self.model))
        for name, value in saved.items():
            prefix, _, key = name.rpartition(".")
            held = modules[prefix]._buffers
            current, first = held.get(key), self._first_buffers.get(name)
            if value is None:
                held[key] = None
            elif first is current and current is not None and fits(current, value):
                with torch.no_grad():
                    current.copy_(value)
            else:
                # A buffer that the model assigned may be the batch itself: it is replaced, not written to.
                like = next((t for t in (current, first, *self.names) if t is not None), value)
                held[key] = value.to(like.device, copy=True)

    def gradients(self) -> dict[str, Tensor]:
        """The gradients that are there, by parameter."""
        return {name: parameter.grad for parameter, name in self.names.items() if parameter.grad is not None}

    def drop_gradients(self) -> None:
        """Forget all gradients, those of parameters that the optimizer does not hold included."""
        for parameter in self.names:
            parameter.grad = None
        # A scaler that is switched off has nothing to forget, not even the place for it.
        if self.scaler is not None and self.scaler.is_enabled():
            # That they were unscaled, and what was found in them, without counting a step towards growth.
            self.scaler._per_optimizer_states.clear()

    def _held_by_optimizer(self) -> list[int]:
        """The identities of its parameters: one may be put in the place of another."""
        return [id(parameter) for group in self.optimizer.param_groups for parameter in group["params"]]
