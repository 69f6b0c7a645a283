"""A loss of which no update can be made, once the run is under way: the program, or a batch that has none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from supervisor.diagnosis import Overrun, time_limit
from supervisor.evidence import Blame, Evidence
from supervisor.experiments.canaries import Canary
from supervisor.experiments.examining import BEFORE, Examining
from supervisor.experiments.fork import fresh
from supervisor.experiments.no_trace import updates_undone
from supervisor.experiments.suspicion import bad_batch
from supervisor.training.rng import restore_rng
from supervisor.update import Attempt, LossError

__all__ = ["NoLoss"]

IN_A_ROW = 3
"""So many updates one after the other without a loss are the program's fault where no canary tells."""

PASSES = 1.0
"""What the forward and the backward pass of a canary cost."""


@dataclass(slots=True)
class NoLoss:
    """Tells whose fault a `LossError` is. No other rate, state or weight gives a graph: no rung but a skip can help.

    How many came in a row is no part of a checkpoint: a run that is resumed amid them begins to count anew.

    Attributes:
        examining: what experiments are made with.
    """

    examining: Examining
    _in_a_row: int = field(default=0, init=False)
    _last: int = field(default=-1, init=False)

    def convict(self, attempt: Attempt, canaries: Sequence[Canary]) -> Evidence:
        """Blame the program where the newest canary has no loss either, or several updates had none; else the batch.

        Args:
            attempt: the update, which was discarded.
            canaries: those to try.
        """
        update = attempt.place.update
        self._in_a_row = self._in_a_row + 1 if update == self._last + 1 else 1
        self._last = update
        tools = self.examining.tools
        gives_one = self._gives_a_loss(attempt, canaries[-1]) if canaries and tools.executor.no_replay is None else None
        if gives_one is False:
            return Evidence(Blame.CODE, f"a batch that was healthy has no such loss any more{_at(attempt)}")
        if gives_one is None and self._in_a_row >= IN_A_ROW:
            return Evidence(Blame.CODE, f"{self._in_a_row} updates in a row had no such loss{_at(attempt)}")
        why = "a batch that was healthy still has such a loss: this one has none" if gives_one else "its batch has none"
        return bad_batch(attempt, tools.data, why)

    def _gives_a_loss(self, attempt: Attempt, canary: Canary) -> bool | None:
        """Whether a canary has a loss with a graph; None where that took too long, or something else was raised."""
        examining, tools = self.examining, self.examining.tools
        started, seconds = tools.clock.monotonic(), examining.policy.diagnose.max_seconds
        try:
            with updates_undone(tools.subject), time_limit(seconds):
                restore_rng(canary.rng)
                seen = tools.executor.replay(fresh(canary.batches), attempt.place)
        except Overrun:
            return None
        examining.budget.spend(PASSES)
        if seen.exception is None:
            numbers = {"before": canary.loss, "after": seen.loss}
            examining.tell(attempt, BEFORE, 1, started, "unharmed", **numbers)
            return True
        examining.tell(attempt, BEFORE, 1, started, "unknown", why=f"a batch that was healthy raises {seen.exception}")
        return False if seen.exception.startswith(f"{LossError.__name__}:") else None


def _at(attempt: Attempt) -> str:
    where = None if attempt.raised is None else attempt.raised.where
    return f": the program is at fault{f', at {where}' if where else ''}"
