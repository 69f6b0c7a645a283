"""The devices that models, optimizers and batches are on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from supervisor.errors import InputError
from supervisor.training.optimizers import AnyOptimizer
from supervisor.training.tree import mapped, tensors

__all__ = ["batch_to", "choose_device", "devices_of", "optimizer_to", "placed"]


def choose_device(name: str) -> torch.device:
    """`auto` (CUDA where there is a device, else the CPU), `cpu` or `cuda`.

    Raises:
        InputError: `cuda` where there is none.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError("device: cuda: this machine has no CUDA device: write `device: auto` or `device: cpu`")
    return torch.device(name)


def batch_to(batch: Any, device: torch.device) -> Any:
    """The batch with every tensor in it on `device`: in tuples (named ones too), lists, mappings, dataclasses."""
    return mapped(batch, lambda tensor: tensor.to(device, non_blocking=True))


def optimizer_to(optimizer: AnyOptimizer, device: torch.device) -> None:
    """Move the optimizer's state to `device`; 0-dimensional step counters stay where the optimizer keeps them."""
    for state in optimizer.state.values():
        for _, tensor in tensors(state):
            if tensor.dim() > 0:
                tensor.data = tensor.data.to(device)


def devices_of(batch: Any) -> set[str]:
    """The devices that a batch's tensors are on."""
    return {str(tensor.device) for _, tensor in tensors(batch)}


def placed(batch: Any, devices: Sequence[str]) -> Any:
    """A batch on the device it was drawn on, which a checkpoint does not keep; unmoved where that device is missing."""
    if devices_of(batch) == set(devices) or (devices[0].startswith("cuda") and not torch.cuda.is_available()):
        return batch
    return batch_to(batch, torch.device(devices[0]))
