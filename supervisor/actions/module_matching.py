"""Which modules a `reinitialize` rung means."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any

from torch import nn
from torch.nn.utils.parametrize import is_parametrized

from supervisor.errors import InputError
from supervisor.training.modules import named_modules

__all__ = [
    "OWN_CELL",
    "RECURRENT",
    "is_frozen",
    "kind_of",
    "match_modules",
    "own_attribute",
    "recurrent_modules",
    "whole_cell",
]

RECURRENT = (nn.RNNBase, nn.RNNCellBase)

OWN_CELL = "is_recurrent_cell"
"""Attribute by which a recurrent module that is none of torch's says so: True, on its class or on itself."""


def match_modules(model: nn.Module, globs: Sequence[str]) -> dict[str, nn.Module]:
    """The outermost modules whose qualified name or class name matches one of the globs, whatever the case.

    Raises:
        InputError: a glob matches nothing; the message offers the nearest names.
    """
    matched: dict[str, nn.Module] = {}
    modules = dict(named_modules(model))
    for glob in globs:
        found = {name: module for name, module in modules.items() if _matches(glob, name, module)}
        if not found:
            names = [name for name in modules if name]
            names += sorted({kind_of(module).__name__ for module in modules.values()})
            spelt = {name.lower(): name for name in reversed(names)}
            close = difflib.get_close_matches(glob.lower(), spelt, n=3, cutoff=0.3)
            nearest = [spelt[name] for name in close] or names[:3]
            raise InputError(f"{glob!r} matches no module: write one of: {', '.join(nearest)}")
        matched |= found
    return _outermost(matched)


def recurrent_modules(model: nn.Module) -> dict[str, nn.Module]:
    """Every GRU, LSTM and RNN of the model, cells and what derives from them included, and every module that has
    `is_recurrent_cell = True`, by qualified name.

    What is frozen is left out: nothing would train what was drawn in its place.
    """
    return _outermost({name: m for name, m in named_modules(model) if _is_recurrent(m) and not is_frozen(m)})


def is_frozen(module: nn.Module) -> bool:
    """Whether a module has parameters, and none of them is trained."""
    trained = [parameter.requires_grad for parameter in module.parameters()]
    return bool(trained) and not any(trained)


def whole_cell(model: nn.Module, name: str) -> tuple[str, nn.Module]:
    """A module by its name, or the recurrent one that it is a part of and that draws itself, with that one's name.

    What a cell is made of was drawn by the rule of the cell, and would be redrawn by another one if it were alone.
    """
    modules = dict(named_modules(model))
    parts = name.split(".") if name else []
    for length in range(len(parts)):
        outer = ".".join(parts[:length])
        if outer in modules and _is_recurrent(modules[outer]) and own_attribute(modules[outer], "reset_parameters"):
            return outer, modules[outer]
    return name, modules[name]


def _is_recurrent(module: nn.Module) -> bool:
    return isinstance(module, RECURRENT) or own_attribute(module, OWN_CELL) is True


def own_attribute(module: nn.Module, name: str) -> Any:
    """What a module has on itself or in its class; None for what it only hands on from a module within it.

    Wrappers do that by a `__getattr__`, as those of FSDP and of adapters, and would be taken for what they wrap.
    """
    return vars(module).get(name, getattr(type(module), name, None))


def _matches(glob: str, name: str, module: nn.Module) -> bool:
    pattern = glob.lower()
    named = bool(name) and fnmatchcase(name.lower(), pattern)
    return named or fnmatchcase(kind_of(module).__name__.lower(), pattern)


def kind_of(module: nn.Module) -> type[nn.Module]:
    """The class of a module as the user wrote it: a parametrized module has a class made for it alone."""
    kind = type(module)
    return kind.__bases__[0] if is_parametrized(module) else kind


def _outermost(matched: dict[str, nn.Module]) -> dict[str, nn.Module]:
    inner = {id(module) for name, outer in matched.items() for module in outer.modules() if module is not outer}
    return {name: module for name, module in matched.items() if id(module) not in inner}
