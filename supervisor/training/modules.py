"""The modules of a model and what they hold, by name, found quickly, since every step goes through them."""

from __future__ import annotations

import operator
from collections.abc import Iterator

from torch import Tensor, nn

from supervisor.training.optimizers import AnyOptimizer, members

COMPILED = "_orig_mod"
"""What `torch.compile` calls the module it wraps. It stands in no name: globs and checkpoints serve either way."""

Modules = list[tuple[str, nn.Module]]


def named_modules(model: nn.Module) -> Modules:
    """What `model.named_modules()` gives, in its order, at a fraction of its cost.

    That one is a generator in a generator for every level of the model, so that each module passes through all of them.
    A compiled module comes after its wrapper under the same name, so that a dict of them holds the module itself.
    """
    found: Modules = []
    seen: set[nn.Module] = set()
    ahead: Modules = [("", model)]
    while ahead:
        here = name, module = ahead.pop()
        if module in seen:
            continue
        seen.add(module)
        found.append(here)
        if module._modules:
            prefix = f"{name}." if name else ""
            # Reversed, since the last of the list comes next, and that is to be the first child.
            ahead += [
                (name if key == COMPILED else prefix + key, child)
                for key, child in reversed(module._modules.items())
                if child is not None
            ]
    return found


def buffers_of(modules: Modules) -> Iterator[tuple[str, nn.Module, str, Tensor | None]]:
    """Every buffer: its name, the module that holds it, its key there, and itself (None where unset)."""
    for prefix, module in modules:
        for key, buffer in module._buffers.items():
            yield f"{prefix}.{key}" if prefix else key, module, key, buffer


def with_extra_state(modules: Modules) -> Iterator[tuple[str, nn.Module]]:
    """The modules that have a `get_extra_state` of their own."""
    for name, module in modules:
        if type(module).get_extra_state is not nn.Module.get_extra_state:
            yield name, module


def named_parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    """Every parameter by its name, as it is without `torch.compile`; a shared one has its first."""
    found = {}
    for name, parameter in model.named_parameters():
        found[".".join(part for part in name.split(".") if part != COMPILED)] = parameter
    return found


def parameter_names(model: nn.Module, optimizer: AnyOptimizer) -> dict[Tensor, str]:
    """Every parameter that a step can change, with its name; those of the optimizer alone get a number."""
    names: dict[Tensor, str] = {parameter: name for name, parameter in named_parameters(model).items()}
    optimizers = members(optimizer)
    for number, each in enumerate(optimizers):
        prefix = f"optimizers.{number}." if len(optimizers) > 1 else ""
        for index, group in enumerate(each.param_groups):
            for position, parameter in enumerate(group["params"]):
                names.setdefault(parameter, f"{prefix}param_groups.{index}.{position}")
    return names


class ModuleWalk:
    """The modules of a model, walked again only when one was added, taken away, renamed or replaced.

    Args:
        model: the model.

    Attributes:
        named: every module with its name, in the order of `named_modules`.
        plain: the modules alone.
        with_extra_state: those with a `get_extra_state` of their own, with their names.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self.named: Modules = []
        self.plain: list[nn.Module] = []
        self.with_extra_state: Modules = []
        self._children: list[tuple[dict[str, nn.Module | None], tuple[str, ...], tuple[nn.Module | None, ...]]] = []
        self._walk()

    def refresh(self) -> bool:
        """Walk again where the tree has changed, and say whether it has."""
        for children, names, known in self._children:
            # Most are leaves. By identity, since a module may say that it equals another.
            if (children or known) and (
                tuple(children) != names or not all(map(operator.is_, children.values(), known))
            ):
                self._walk()
                return True
        return False

    def buffers(self) -> Iterator[tuple[str, nn.Module, str, Tensor | None]]:
        """Every buffer, as `buffers_of` gives them."""
        return buffers_of([named for named in self.named if named[1]._buffers])

    def _walk(self) -> None:
        self.named = named_modules(self._model)
        self.plain = [module for _, module in self.named]
        self.with_extra_state = list(with_extra_state(self.named))
        # A leaf may be given children later, so that it counts too.
        self._children = [(held := module._modules, tuple(held), tuple(held.values())) for module in self.plain]
