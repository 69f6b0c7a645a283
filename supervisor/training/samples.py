"""The samples of a batch: how many there are, which hold bad values, and the batch without some of them.

A batch is any nesting of tuples, lists and dictionaries of tensors; its samples lie along dimension 0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from supervisor.training.tree import tensors, with_values

__all__ = ["bad_samples", "keep_samples", "sample_count", "values_replaced"]


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
    return _mapped(batch, lambda tensor: _rows(tensor, positions), positions, count)


def bad_samples(batch: Any) -> tuple[int, ...]:
    """Positions of the samples with a NaN or an infinity in some tensor."""
    held = [tensor for _, tensor in tensors(batch) if tensor.dim() > 0 and _can_be_bad(tensor) and tensor.numel()]
    if not held:
        return ()
    bad = torch.stack([~torch.isfinite(_dense(tensor)).flatten(1).all(1).cpu() for tensor in held]).any(0)
    return tuple(bad.nonzero().flatten().tolist())


def values_replaced(batch: Any) -> Any:
    """A copy of the batch in which finite values of the same tensor stand for the others, or zero."""

    def replaced(tensor: Tensor) -> Tensor:
        if not _can_be_bad(tensor) or tensor.is_complex():
            return tensor
        finite = torch.isfinite(tensor)
        some = tensor[finite].median() if bool(finite.any()) else tensor.new_zeros(())
        return torch.where(finite, tensor, some)

    return _mapped(batch, replaced, (), None)


def _rows(tensor: Tensor, positions: Sequence[int]) -> Tensor:
    if tensor.dim() == 0:
        return tensor
    return tensor[torch.as_tensor(positions, dtype=torch.int64, device=tensor.device)]


def _mapped(tree: Any, change: Callable[[Tensor], Tensor], positions: Sequence[int], count: int | None) -> Any:
    if isinstance(tree, Tensor):
        return change(tree)
    if isinstance(tree, Mapping):
        return with_values(tree, {key: _mapped(value, change, positions, count) for key, value in tree.items()})
    if isinstance(tree, (list, tuple)):
        if len(tree) == count and not any(True for _ in tensors(tree)):
            kept: list[Any] = [tree[position] for position in positions]
        else:
            kept = [_mapped(value, change, positions, count) for value in tree]
        return type(tree)(*kept) if hasattr(tree, "_fields") else type(tree)(kept)
    return tree


def _can_be_bad(tensor: Tensor) -> bool:
    return tensor.is_floating_point() or tensor.is_complex()


def _dense(tensor: Tensor) -> Tensor:
    dense = tensor.to_dense() if tensor.layout is not torch.strided else tensor
    return dense.reshape(len(dense), -1)
