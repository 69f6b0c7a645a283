"""Which overflows are a gradient scaler's way to find its scale, and which are faults."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["FLOOR", "LONGEST_RUN", "LossScale"]

FLOOR = 1.0
"""At this scale and below, an overflow is never excused: unscaled, the gradients would not be finite either.

`torch.amp.GradScaler` itself has no floor; it halves the scale for ever, until all gradients are zero.
"""

LONGEST_RUN = 8
"""Overflows in a row that are excused once an update was applied.

A scale that fits is doubled every `growth_interval` steps and is then at most one doubling too high, so that a healthy
run seldom overflows twice in a row. Eight halvings leave room for gradients that grow 256-fold from one step to the
next, as after a change of data; an overflow after that has another cause than the scale.
"""


@dataclass(slots=True)
class LossScale:
    """Counts the overflows of a gradient scaler.

    Until an update was applied, every overflow above the floor is calibration: from 65536, torch's first scale, there
    are 16 halvings at most. Later, up to `LONGEST_RUN` in a row are; one more means that the scale is collapsing.

    Attributes:
        calibrated: whether an update was applied.
        in_a_row: the overflows since the last one that was.
    """

    calibrated: bool = False
    in_a_row: int = 0

    def expects_overflow(self, scale: float) -> bool:
        """Whether an overflow under this scale, the next in the row, is nothing but calibration."""
        return scale > FLOOR and (not self.calibrated or self.in_a_row < LONGEST_RUN)

    def overflowed(self) -> None:
        """Note an update whose loss was finite and whose scaled gradients were not."""
        self.in_a_row += 1

    def applied(self) -> None:
        """Note an applied update: the scale fits."""
        self.calibrated = True
        self.in_a_row = 0
