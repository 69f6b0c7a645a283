"""The samples of a batch: how many there are, which hold bad values, and the batch without some of them.

A batch is any nesting of tuples, lists, dictionaries and dataclasses of tensors; its samples lie along dimension 0.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from supervisor.training.containers import entries, is_record
from supervisor.training.norms import can_rot
from supervisor.training.tree import mapped, tensors

__all__ = ["bad_samples", "keep_samples", "sample_count", "unreadable", "values_replaced", "without_samples"]


def sample_count(batch: Any) -> int | None:
    """Samples in a batch: the size along dimension 0 on which all its tensors agree; None where they do not.

    Tensors without dimensions belong to all samples.
    """
    sizes = {len(tensor) for _, tensor in tensors(batch) if tensor.dim() > 0}
    return sizes.pop() if len(sizes) == 1 else None


def keep_samples(batch: Any, positions: Sequence[int]) -> Any:
    """The batch with the samples at `positions` alone, in that order; nothing is changed in place.

    Lists and tuples of as many other things as there are samples (texts, names) are cut alike.
    """
    count = sample_count(batch)

    def is_leaf(held: Any) -> bool:
        return isinstance(held, Tensor) or _is_list_of(held, count)

    def kept(held: Any) -> Any:
        if not isinstance(held, Tensor):
            left = [held[position] for position in positions]
            return type(held)(*left) if hasattr(held, "_fields") else type(held)(left)
        if held.dim() == 0:
            return held
        return held[torch.as_tensor(positions, dtype=torch.int64, device=held.device)]

    return mapped(batch, kept, is_leaf)


def without_samples(batches: Sequence[Any], positions: Collection[int]) -> tuple[Any, ...]:
    """The batches of an update without some of their samples; a batch of which nothing is left is left out.

    Args:
        batches: those of one update.
        positions: of the samples, counted through the batches.
    """
    left: list[Any] = []
    start = 0
    for batch in batches:
        count = sample_count(batch) or 0
        kept = [here for here in range(count) if start + here not in positions]
        start += count
        if kept:
            left.append(batch if len(kept) == count else keep_samples(batch, kept))
    return tuple(left)


def bad_samples(batch: Any) -> tuple[int, ...]:
    """Positions of the samples with a NaN or an infinity in some tensor."""
    held = [tensor for _, tensor in tensors(batch) if tensor.dim() > 0 and can_rot(tensor)]
    if not held:
        return ()
    bad = torch.stack([~torch.isfinite(_dense(tensor)).flatten(1).all(1).cpu() for tensor in held]).any(0)
    return tuple(bad.nonzero().flatten().tolist())


def unreadable(batch: Any) -> tuple[str, ...]:
    """The classes of what a batch holds that is neither a tensor nor a plain value nor a container of them."""
    found: dict[str, None] = {}
    waiting, seen = [batch], dict[int, Any]()
    while waiting:
        here = waiting.pop()
        if id(here) in seen or isinstance(here, (Tensor, bool, int, float, str, bytes, type(None))):
            continue
        seen[id(here)] = here
        if is_record(here) or isinstance(here, (Mapping, list, tuple)):
            waiting += [value for _, value in entries(here)]
        else:
            found[type(here).__name__] = None
    return tuple(found)


def values_replaced(batch: Any) -> Any:
    """A copy of the batch in which finite values of the same tensor stand for the others, or zero."""

    def replaced(tensor: Tensor) -> Tensor:
        if not tensor.is_floating_point():
            return tensor
        finite = torch.isfinite(tensor)
        some = tensor[finite].median() if bool(finite.any()) else tensor.new_zeros(())
        return torch.where(finite, tensor, some)

    return mapped(batch, replaced)


def _is_list_of(held: Any, count: int | None) -> bool:
    """Whether something is a list or a tuple of as many things, none of them with a tensor in it."""
    return isinstance(held, (list, tuple)) and len(held) == count and not any(True for _ in tensors(held))


def _dense(tensor: Tensor) -> Tensor:
    dense = tensor.to_dense() if tensor.layout is not torch.strided else tensor
    return dense.reshape(len(dense), -1)
