"""The last state of a run: on disk and verified, or what is lost with it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from supervisor.clock import Clock
from supervisor.saved import newest_verified
from supervisor.states.state_taker import StateTaker

__all__ = ["LastState"]

FIRST_PAUSE_SECONDS = 0.5
"""Between the first two attempts to write it; each further pause is twice as long."""


@dataclass(frozen=True, slots=True)
class LastState:
    """Sees to it that a run ends with its state on disk.

    Attributes:
        taker: takes and writes states.
        clock: for the time in which it is tried to be written.
        checkpoints: the folder of the checkpoints; None where none are written.
    """

    taker: StateTaker
    clock: Clock
    checkpoints: Path | None = None

    def secure(self) -> str | None:
        """Write the last state of the run, verified: where the disk refuses it, for as long as the policy says.

        Returns:
            What is lost where it could not be written; None where it is safe, or where nothing is written at all.
        """
        taker = self.taker
        counters, disk, policy = taker.points.ledger.counters, taker.states.disk, taker.policy
        if disk is None:
            return None
        # Half of the stall timeout: whoever watches this process hears nothing of it meanwhile.
        most = min(policy.checkpoint.last_save_seconds, policy.restart.stall_timeout_seconds / 2)
        began, pause = self.clock.monotonic(), FIRST_PAUSE_SECONDS
        while True:
            written = taker.commit()
            if written and disk.verified(counters.update, (counters.step, counters.update - 1)):
                return None
            left = began + most - self.clock.monotonic()
            if left <= 0 or not taker.check.is_finite():
                return self.lost()
            self.clock.sleep(min(pause, left))
            pause *= 2

    def lost(self) -> str | None:
        """What is lost where the state of the last step is not written; None where nothing is written at all."""
        if self.checkpoints is None:
            return None
        what = f"the state of step {self.taker.points.ledger.counters.step} could not be written"
        newest = newest_verified(self.checkpoints)
        if newest is None:
            return f"{what}, and there is no checkpoint to go on from: all of it is lost"
        where = f"{newest.path.parent.name}/{newest.path.name}"
        return f"{what}: --resume goes on from {where}, and what came after it is lost"
