"""What experiments find: who is to blame for an update, and the evidence for it, as plain data."""

from __future__ import annotations

import enum
from dataclasses import dataclass

__all__ = ["Blame", "Evidence"]


class Blame(enum.StrEnum):
    """What an experiment found to be at fault."""

    DATA = "data"
    """The batch: the state is sound."""
    STATE = "state"
    """Parameters, buffers or optimizer state: batches that were healthy are not any more."""
    SETUP = "setup"
    """The set-up of the training: another one learns."""
    MACHINE = "machine"
    """Neither: the same step, run again, is healthy."""
    CODE = "code"
    """The program: it raises on batches on which it did not before."""
    UNKNOWN = "unknown"
    """No experiment could tell."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the experiments about one flagged update came to, as plain data.

    Attributes:
        blame: what is at fault.
        why: one sentence for a person, with the numbers.
        batches: bad batches that the update counts for; more than one where they accumulate, 0 where its bad rows are
            known and left out from now on.
        finite: whether all numbers of the update were finite, so that nothing but their size speaks against it.
        repeatable: whether its batches may come again.
        batch: number of its last batch in the data, None where that is not known.
        gone_back_over: updates just before it that had been accepted on trial and were undone together with it.
        shifted: the data changed for good, and the policy wants to halt then.
    """

    blame: Blame
    why: str
    batches: int = 1
    finite: bool = False
    repeatable: bool = False
    batch: int | None = None
    gone_back_over: int = 0
    shifted: bool = False
