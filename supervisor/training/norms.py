"""Norms of many tensors at once, and what they tell: a norm is finite only where every element is."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

__all__ = [
    "Flaws",
    "alike",
    "all_finite",
    "can_rot",
    "dense",
    "extremes",
    "first_bad",
    "flaws",
    "norms",
    "norms_in_order",
    "norms_on_host",
    "on_host",
    "sums",
]

Flaws = frozenset[str]
"""Which of `nan`, `inf` and `-inf` some tensors hold."""

_KINDS = {"nan": torch.isnan, "inf": torch.isposinf, "-inf": torch.isneginf}


@torch.no_grad()
def all_finite(held: Iterable[Tensor]) -> bool:
    """True when no element is NaN or infinite; one synchronisation on the healthy path."""
    floating = [tensor for tensor in held if can_rot(tensor)]
    if not floating or all(map(math.isfinite, on_host(norms(floating)))):
        return True
    # Finite elements can have an infinite norm: only the elements decide.
    return all(bool(torch.isfinite(dense(tensor)).all()) for tensor in floating)


def first_bad(named: Sequence[tuple[str, Tensor]]) -> tuple[str, ...]:
    """Names of the tensors that hold a NaN or an infinity; one synchronisation where none does."""
    if all_finite(tensor for _, tensor in named):
        return ()
    return tuple(name for name, tensor in named if not all_finite([tensor]))


def can_rot(tensor: Tensor) -> bool:
    """Whether a tensor has an element that could be NaN."""
    dtype = tensor.dtype
    return (dtype is torch.float32 or dtype.is_floating_point or dtype.is_complex) and tensor.numel() > 0


def dense(tensor: Tensor) -> Tensor:
    """The elements that count: the values of a sparse tensor, both halves of a complex one; those of 8 bits wider."""
    if tensor.is_sparse:
        tensor = tensor.detach().coalesce().values()
    if tensor.dtype.itemsize == 1 and tensor.is_floating_point():
        # Next to nothing is computed in these types.
        tensor = tensor.detach().float()
    return torch.view_as_real(tensor.detach().resolve_conj()) if tensor.is_complex() else tensor


def norms(held: list[Tensor]) -> Sequence[Tensor]:
    """The L2 norm of each tensor, 0-dimensional, accumulated in float32 or wider; in the order of `_grouped`."""
    if not held:
        return ()
    if alike(held):
        return torch._foreach_norm(held, 2)
    found: list[Tensor] = []
    for (_, dtype), group in _grouped([dense(tensor) for tensor in held]).items():
        wide = torch.promote_types(dtype, torch.float32)
        found += torch._foreach_norm([tensor for _, tensor in group], 2, wide)
    return found


@torch.no_grad()
def norms_in_order(held: list[Tensor], order: float = 2) -> list[Tensor]:
    """The norm of each tensor, by default the L2 norm, 0-dimensional, in the order of `held`.

    Accumulated in float32 or wider. An `order` of infinity gives the largest magnitude.
    """
    if not held:
        return []
    if alike(held):
        return list(torch._foreach_norm(held, order))
    found: dict[int, Tensor] = {}
    for (_, dtype), group in _grouped([dense(tensor) for tensor in held]).items():
        wide = torch.promote_types(dtype, torch.float32)
        of_group = torch._foreach_norm([tensor for _, tensor in group], order, wide)
        found |= dict(zip((index for index, _ in group), of_group, strict=True))
    return [found[index] for index in range(len(held))]


@torch.no_grad()
def extremes(held: list[Tensor]) -> list[Tensor]:
    """Two 0-dimensional tensors for each of `held`, in order, the larger magnitude of which is that of its elements."""
    if not all(tensor.is_cpu for tensor in held):
        return [each for largest in norms_in_order(held, math.inf) for each in (largest, largest)]
    # On the host the norm of this order takes fifteen times as long.
    found: list[Tensor] = []
    for values in map(dense, held):
        # A sparse tensor may hold no value.
        found += values.aminmax() if values.numel() else (values.new_zeros(()), values.new_zeros(()))
    return found


@torch.no_grad()
def sums(held: list[Tensor]) -> list[Tensor]:
    """The sum of each tensor, none of whose elements is below zero, 0-dimensional, in float32 or wider."""
    if not all(tensor.is_cpu for tensor in held):
        return norms_in_order(held, 1)
    # Likewise: four times.
    kept = [dense(tensor) for tensor in held]
    return [tensor.sum(dtype=torch.promote_types(tensor.dtype, torch.float32)) for tensor in kept]


def norms_on_host(held: list[Tensor]) -> list[float]:
    """The L2 norm of each tensor, in the order of `held`; one synchronisation."""
    return on_host(norms_in_order(held)) if held else []


def flaws(*groups: Iterable[Tensor]) -> Flaws:
    """What some tensors hold beside finite values."""
    found: set[str] = set()
    for group in groups:
        for tensor in group:
            if can_rot(tensor) and not bool(torch.isfinite(values := dense(tensor.detach())).all()):
                found |= {name for name, is_one in _KINDS.items() if bool(is_one(values).any())}
    return frozenset(found)


def alike(held: Sequence[Tensor]) -> bool:
    """Whether one call can take all of them as they are: dense single-precision numbers on one device."""
    on_host = held[0].is_cpu
    for tensor in held:
        if tensor.dtype is not torch.float32 or tensor.layout is not torch.strided or tensor.is_cpu is not on_host:
            return False
    return on_host or len({tensor.device for tensor in held}) == 1


def _grouped(held: Iterable[Tensor]) -> dict[tuple[torch.device, torch.dtype], list[tuple[int, Tensor]]]:
    """Tensors with their positions, those of a kind together."""
    groups: dict[tuple[torch.device, torch.dtype], list[tuple[int, Tensor]]] = {}
    for index, tensor in enumerate(held):
        groups.setdefault((tensor.device, tensor.dtype), []).append((index, tensor))
    return groups


def on_host(parts: Sequence[Tensor]) -> list[float]:
    """The values of 0-dimensional tensors, with one synchronisation whatever devices they are on."""
    away = [part for part in parts if not part.is_cpu]
    if not away:
        # Of mixed types the widest holds them all.
        values: list[float] = torch.stack(tuple(parts)).tolist()
        return values
    # Those of several devices meet on one of them; those on the host are at hand, and to send them there would wait.
    read = iter(torch.stack([part.to(away[0].device) for part in away]).tolist())
    return [part.item() if part.is_cpu else next(read) for part in parts]
