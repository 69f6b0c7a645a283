"""Which modules a `reinitialize` rung means."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from fnmatch import fnmatchcase

from torch import nn

from supervisor.errors import InputError

__all__ = ["RECURRENT", "match_modules", "recurrent_modules"]

RECURRENT = (nn.RNNBase, nn.RNNCellBase)


def match_modules(model: nn.Module, globs: Sequence[str]) -> dict[str, nn.Module]:
    """The outermost modules whose qualified name or class name matches one of the globs, whatever the case.

    Raises:
        InputError: a glob matches nothing; the message offers the nearest names.
    """
    matched: dict[str, nn.Module] = {}
    for glob in globs:
        found = {name: module for name, module in model.named_modules() if _matches(glob, name, module)}
        if not found:
            names = [name for name, _ in model.named_modules() if name]
            names += sorted({type(module).__name__ for _, module in model.named_modules()})
            spelt = {name.lower(): name for name in reversed(names)}
            close = difflib.get_close_matches(glob.lower(), spelt, n=3, cutoff=0.3)
            nearest = [spelt[name] for name in close] or names[:3]
            raise InputError(f"{glob!r} matches no module: write one of: {', '.join(nearest)}")
        matched |= found
    return _outermost(matched)


def recurrent_modules(model: nn.Module) -> dict[str, nn.Module]:
    """Every GRU, LSTM and RNN of the model, cells included, by qualified name."""
    return _outermost({name: m for name, m in model.named_modules() if isinstance(m, RECURRENT)})


def _matches(glob: str, name: str, module: nn.Module) -> bool:
    pattern = glob.lower()
    named = bool(name) and fnmatchcase(name.lower(), pattern)
    return named or fnmatchcase(type(module).__name__.lower(), pattern)


def _outermost(matched: dict[str, nn.Module]) -> dict[str, nn.Module]:
    inner = {id(module) for name, outer in matched.items() for module in outer.modules() if module is not outer}
    return {name: module for name, module in matched.items() if id(module) not in inner}
