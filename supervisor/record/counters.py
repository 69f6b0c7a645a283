"""Where a run stands, in numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["Counters", "Progress"]


@dataclass(slots=True)
class Counters:
    """The numbers of a run that a checkpoint carries.

    Attributes:
        step: position in the schedule: steps used up.
        update: updates attempted; never goes back.
        applied_steps: updates applied and kept.
        skipped_steps: updates flagged and discarded.
        useful_seconds: wall time of the applied and kept updates.
        seconds: wall time of the run before this process.
        final_loss: loss of the last applied update.
        replay_until: batches up to this number come again after a reload with `data: replay`.
    """

    step: int = 0
    update: int = 0
    applied_steps: int = 0
    skipped_steps: int = 0
    useful_seconds: float = 0.0
    seconds: float = 0.0
    final_loss: float | None = None
    replay_until: int = 0

    def to_plain(self) -> dict[str, Any]:
        """The fields by name."""
        return asdict(self)

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Counters:
        """The inverse of `to_plain`; what only an earlier version counted is left out."""
        return cls(**{name: plain[name] for name in cls.__slots__})


@dataclass(frozen=True, slots=True)
class Progress:
    """One step, for a display.

    Attributes:
        step: its position in the schedule.
        loss: its loss.
        grad_norm: its total gradient norm.
        lr_scale: product of the learning-rate cuts in force.
        rung: rung used last in the open incident, None when none is open.
        incidents: incidents opened so far.
        lr: learning rate of the first parameter group as the scheduler set it, None where it is not known; what the
            step was done with is this times `lr_scale`.
        goodput: useful time over wall time so far, 0 to 1; None where there is none yet.
    """

    step: int
    loss: float
    grad_norm: float
    lr_scale: float
    rung: int | None
    incidents: int
    lr: float | None = None
    goodput: float | None = None
