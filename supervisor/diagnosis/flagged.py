"""A flagged update, before it is looked into."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from supervisor.records import Observation, Signal

__all__ = ["FlaggedUpdate", "Raised"]


@dataclass(frozen=True, slots=True)
class Raised:
    """An exception that a step raised: its class name, the frame in the user's code, and the innermost module in
    whose code it was raised, each None where it is not known."""

    type: str
    where: str | None
    module: str | None


@dataclass(frozen=True, slots=True)
class FlaggedUpdate:
    """Everything that is known of a flagged update before it is looked into.

    Attributes:
        observation: what it measured, with what is wrong in the state.
        signals: what flagged it.
        batches: its batches.
        undone: whether it could be discarded, so that the state is the one before it.
        raised: the exception that ended it, if one did.
        batch_number: number of its last batch, None where the caller draws the batches.
    """

    observation: Observation
    signals: tuple[Signal, ...]
    batches: tuple[Any, ...]
    undone: bool
    raised: Raised | None
    batch_number: int | None
