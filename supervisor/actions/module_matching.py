"""Which modules a `reinitialize` rung means."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from fnmatch import fnmatchcase

from torch import nn
from torch.nn.utils.parametrize import is_parametrized

from supervisor.errors import InputError
from supervisor.training.modules import named_modules

__all__ = ["RECURRENT", "kind_of", "match_modules", "recurrent_modules"]

RECURRENT = (nn.RNNBase, nn.RNNCellBase)


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
    """Every GRU, LSTM and RNN of the model, cells included, by qualified name."""
    return _outermost({name: m for name, m in named_modules(model) if isinstance(m, RECURRENT)})


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
