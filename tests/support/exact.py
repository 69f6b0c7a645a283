"""Everything a training step can change, taken as it is and compared bit for bit."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

__all__ = ["assert_finite", "assert_same", "differences", "everything", "generators", "seed_all"]


def seed_all(seed: int) -> None:
    """Seed Python, NumPy and torch."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def generators() -> dict[str, Any]:
    """The state of the three global generators."""
    return {"python": random.getstate(), "numpy": np.random.get_state(legacy=True), "torch": torch.get_rng_state()}


def everything(training: Any, *, rng: bool = True) -> dict[str, Any]:
    """A deep copy of parameters, buffers, optimizer, scheduler, extra state, scaler and generators."""
    model, optimizer = training.model, training.optimizer
    state: dict[str, Any] = {
        "parameters": {name: parameter.detach() for name, parameter in model.named_parameters()},
        "buffers": dict(model.named_buffers()),
        "optimizer": [each.state_dict() for each in optimizer]
        if isinstance(optimizer, list)
        else optimizer.state_dict(),
        "scheduler": None if training.scheduler is None else training.scheduler.state_dict(),
        "extra": {name: held.state_dict() for name, held in training.extra_state.items()},
        "scaler": None if training.scaler is None else training.scaler.state_dict(),
    }
    if rng:
        state["rng"] = generators()
    return copy.deepcopy(state)


def differences(one: Any, other: Any, path: str = "") -> list[str]:
    """The paths at which two states are not equal bit for bit; tensors by `torch.equal`, types included."""
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return [] if one.dtype == other.dtype and torch.equal(one, other) else [path]
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        return [] if np.array_equal(one, other) else [path]
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        found = [f"{path}.{key}" for key in one.keys() ^ other.keys()]
        return found + [each for key in one.keys() & other.keys() for each in _below(one, other, key, path)]
    if isinstance(one, list | tuple) and type(one) is type(other):
        if len(one) != len(other):
            return [path]
        return [each for index in range(len(one)) for each in _below(one, other, index, path)]
    if callable(one) and callable(other):
        return []
    return [] if type(one) is type(other) and one == other else [path]


def _below(one: Any, other: Any, key: Any, path: str) -> list[str]:
    return differences(one[key], other[key], f"{path}.{key}" if path else str(key))


def assert_same(one: Any, other: Any, *, but: Iterable[str] = ()) -> None:
    """Two states are equal bit for bit, save what lies below the paths in `but`."""
    prefixes = tuple(but)
    found = [path for path in differences(one, other) if not path.startswith(prefixes or ("\0",))]
    assert not found, f"{len(found)} differ: {found[:10]}"


def assert_finite(training: Any) -> None:
    """Every parameter, buffer and optimizer tensor is finite."""
    held = [*training.model.named_parameters(), *training.model.named_buffers()]
    optimizers = training.optimizer if isinstance(training.optimizer, list) else [training.optimizer]
    held += [
        (f"{index}.{key}", value)
        for optimizer in optimizers
        for index, state in optimizer.state_dict()["state"].items()
        for key, value in state.items()
        if isinstance(value, Tensor)
    ]
    bad = [name for name, tensor in held if tensor.is_floating_point() and not torch.isfinite(tensor).all()]
    assert not bad, f"not finite: {bad}"
