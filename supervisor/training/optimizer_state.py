"""What an optimizer holds: taken, and put back without `load_state_dict`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from supervisor.training.optimizers import AnyOptimizer
from supervisor.training.tree import clone

__all__ = ["captured_groups", "fits", "groups_by_name", "restore_optimizer", "state_by_name"]

HELD = "params"
"""Key of a group's parameters; a captured group has their names instead."""


def state_by_name(optimizer: AnyOptimizer, names: Mapping[Tensor, str]) -> dict[Any, Any]:
    """The optimizer's own `state`, not copied, by the names of its parameters.

    Some optimizers keep what belongs to no parameter under a key of their own, which stays.
    """
    return {_name(key, names): held for key, held in optimizer.state.items()}


def captured_groups(optimizer: AnyOptimizer, names: Mapping[Tensor, str]) -> list[dict[str, Any]]:
    """A copy of the groups' options, with the names of their parameters."""
    return [
        {
            **{key: clone(value) for key, value in group.items() if key != HELD},
            HELD: [names[parameter] for parameter in group[HELD]],
        }
        for group in optimizer.param_groups
    ]


def groups_by_name(groups: Iterable[Mapping[str, Any]], names: Mapping[Tensor, str]) -> dict[str, Any]:
    """Parameter groups, the optimizer's own or captured ones, by what tells them apart.

    That is the first parameter of each, or its place where it holds none: a group may be added before another.
    """
    found = {}
    for index, group in enumerate(groups):
        first = group[HELD][0] if group[HELD] else f"param_groups.{index}"
        found[names[first] if isinstance(first, Tensor) else first] = group
    return found


def restore_optimizer(optimizer: AnyOptimizer, names: Mapping[Tensor, str], saved: Mapping[str, Any]) -> None:
    """Put a captured state back into the very groups and, where they fit, the very tensors.

    Not `load_state_dict`: it keeps the tensors it is given, and casts moments to the parameters' type.

    A group that the captured state does not know was added since. It stays, with its options, and its parameters
    begin without state.
    """
    state: Any = optimizer.state
    for key in [key for key in state if _name(key, names) not in saved["state"]]:
        del state[key]
    by_name = {name: parameter for parameter, name in names.items()}
    for name, held in saved["state"].items():
        key = by_name.get(name, name)
        state[key] = _merged(state.get(key, {}), held, key.device if isinstance(key, Tensor) else None)
    now = groups_by_name(optimizer.param_groups, names)
    for name, options in groups_by_name(saved["groups"], names).items():
        for key, value in options.items():
            if key != HELD:
                now[name][key] = _merged(now[name].get(key, None), value, None)


def fits(current: Tensor, saved: Tensor) -> bool:
    """Whether `saved` can be copied into `current` and nothing is lost."""
    return current.shape == saved.shape and current.dtype == saved.dtype


def _name(key: Any, names: Mapping[Tensor, str]) -> Any:
    return names[key] if isinstance(key, Tensor) else key


def _merged(current: Any, saved: Any, device: torch.device | None) -> Any:
    """`saved`, copied into the tensors of `current` where they fit, so that captured graphs keep their addresses."""
    if isinstance(saved, Tensor):
        if isinstance(current, Tensor) and fits(current, saved):
            with torch.no_grad():
                return current.copy_(saved)
        # Step counters stay on the host, as the optimizer keeps them; moments go to their parameter.
        return saved.clone() if device is None or saved.dim() == 0 else saved.to(device, copy=True)
    if isinstance(saved, dict):
        known = current if isinstance(current, dict) else {}
        return {key: _merged(known.get(key, None), value, device) for key, value in saved.items()}
    return clone(saved)
