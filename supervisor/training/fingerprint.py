"""A short hash of a batch, to tell whether the same one comes again."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from supervisor.training.containers import entries

__all__ = ["content_of", "rows_of"]

MOST_VALUES = 65_536
"""How many values of a tensor are looked at, spread over all of it."""

DIGEST_BYTES = 12


def rows_of(indices: Sequence[Any] | None) -> str | None:
    """A hash of the rows that a batch is made of; None where they are not known."""
    return None if indices is None else _digest([repr(list(indices)).encode("utf-8", "replace")])


def content_of(batch: Any) -> str:
    """A hash of a batch's tensors, arrays and plain values; of anything else only its type counts."""
    parts: list[bytes] = []
    _tell(batch, parts, ())
    return _digest(parts)


def _digest(parts: list[bytes]) -> str:
    found = hashlib.blake2b(digest_size=DIGEST_BYTES)
    for part in parts:
        found.update(len(part).to_bytes(8, "little"))
        found.update(part)
    return found.hexdigest()


def _tell(held: Any, parts: list[bytes], above: tuple[Any, ...]) -> None:
    if isinstance(held, Tensor):
        parts += [f"{held.dtype} {tuple(held.shape)}".encode(), _bytes_of(held)]
    elif isinstance(held, (np.ndarray, np.generic)):
        parts.append(f"{held.dtype} {held.shape}".encode())
        if held.dtype != object:
            values = np.ravel(held)
            parts.append(values[:: _stride(values.size)].tobytes())
    elif isinstance(held, (bool, int, float, complex, str, bytes, type(None))):
        parts.append(repr(held).encode("utf-8", "replace"))
    elif any(each is held for each in above):
        # An instance may hold the one that holds it.
        return
    else:
        parts.append(type(held).__qualname__.encode())
        for name, value in entries(held):
            parts.append(repr(name).encode("utf-8", "replace"))
            _tell(value, parts, (*above, held))


def _bytes_of(tensor: Tensor) -> bytes:
    if tensor.is_meta or tensor.layout is not torch.strided or tensor.is_quantized or tensor.is_nested:
        return b""
    values = tensor.detach().reshape(-1)
    return bytes(values[:: _stride(values.numel())].contiguous().cpu().view(torch.uint8).numpy().tobytes())


def _stride(count: int) -> int:
    return max(1, -(-count // MOST_VALUES))
