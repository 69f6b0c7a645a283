"""What is wrong in some tensors."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import torch
from torch import Tensor

from supervisor.training.norms import can_rot, dense

__all__ = ["Flaws", "flaws", "held"]

Flaws = frozenset[str]
"""Which of `nan`, `inf` and `-inf` some tensors hold."""

_KINDS = {"nan": torch.isnan, "inf": torch.isposinf, "-inf": torch.isneginf}


def flaws(*groups: Iterable[Tensor]) -> Flaws:
    """What some tensors hold beside finite values."""
    found: set[str] = set()
    for group in groups:
        for tensor in group:
            if can_rot(tensor) and not bool(torch.isfinite(values := dense(tensor.detach())).all()):
                found |= {name for name, is_one in _KINDS.items() if bool(is_one(values).any())}
    return frozenset(found)


def held(tree: Any) -> Iterator[Tensor]:
    """Every tensor in nested containers, dataclasses among them, in no particular order."""
    waiting, seen = [tree], dict[int, Any]()
    while waiting:
        here = waiting.pop()
        if isinstance(here, Tensor):
            yield here
        elif id(here) not in seen:
            # Nodes of a tree may hold their parents. They are kept, so that no other gets the same id.
            seen[id(here)] = here
            if is_dataclass(here) and not isinstance(here, type):
                waiting += [getattr(here, field.name, None) for field in fields(here)]
            elif isinstance(here, (Mapping, list, tuple)):
                waiting += here.values() if isinstance(here, Mapping) else here
