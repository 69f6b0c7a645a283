"""Counts how often numbers leave the tensors; on a device each such read waits for all that was asked of it."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

__all__ = ["HostReads", "host_reads", "synchronisations"]


class HostReads(TorchDispatchMode):
    """The reads of tensors on the CPU, where nothing waits: `item`, `bool`, `float`, `equal` and `tolist`."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.equal.default):
            self.count += 1
        return func(*args, **(kwargs or {}))


@contextmanager
def host_reads() -> Iterator[HostReads]:
    """Count in the block."""
    reads, tolist = HostReads(), Tensor.tolist

    def counted(tensor: Tensor) -> Any:
        # It takes the numbers of a CPU tensor from memory, past the dispatcher.
        reads.count += 1
        return tolist(tensor)

    with pytest.MonkeyPatch.context() as patch, reads:
        patch.setattr(Tensor, "tolist", counted)
        yield reads


@contextmanager
def synchronisations() -> Iterator[list[str]]:
    """The synchronisations of the host with a CUDA device in the block, as torch reports them."""
    found: list[str] = []
    before = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            yield found
        finally:
            torch.cuda.set_sync_debug_mode(before)
            found += [str(each.message) for each in caught if "synchroniz" in str(each.message)]
