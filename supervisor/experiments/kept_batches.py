"""Batches that are kept beyond their update, as a checkpoint can hold them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from supervisor.training.device import devices_of, placed
from supervisor.training.tree import clone, comes_back

__all__ = ["from_checkpoint", "to_checkpoint"]


def to_checkpoint(batches: Sequence[Any]) -> dict[str, Any] | None:
    """A copy of the batches of one update, in tensors and plain values; None where a checkpoint cannot give them back.

    That is so for a batch of a type of one's own, and for one that lies on several devices.
    """
    devices = devices_of(batches)
    if len(devices) > 1 or not comes_back(batches):
        return None
    return {"batches": clone(batches), "devices": sorted(devices)}


def from_checkpoint(state: Mapping[str, Any]) -> tuple[Any, ...]:
    """The batches that `to_checkpoint` put there, on the device on which they were."""
    batches: tuple[Any, ...] = state["batches"]
    return placed(batches, state["devices"]) if state["devices"] else batches
