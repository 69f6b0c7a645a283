"""The time of the updates of a run: what of it stands, what was lost, and what was no update at all."""

from __future__ import annotations

import math

__all__ = ["KeptWork"]


class KeptWork:
    """Splits the time in which a run trained among its steps.

    Time is put into `pending`, given to the steps that were done in it by `settle`, and moved to `wasted` by what goes
    back over steps. None is made or lost.

    Attributes:
        pending: seconds since the last step that is known of.
        rest: seconds that no update took.
        wasted: seconds of updates that were discarded or lost.
        applied_seconds: how far the updates of the process at work are given to steps, of what they have taken.
        mean_seconds: of an update, where nothing says more; None before the first.
    """

    def __init__(self) -> None:
        self.pending = 0.0
        self.rest = 0.0
        self.wasted = 0.0
        self.mean_seconds: float | None = None
        # (from step, to step, seconds), in order; the last may end at infinity.
        self._stretches: list[tuple[float, float, float]] = []
        self._step = 0.0
        self._flagged: list[int] = []
        self.applied_seconds = 0.0

    @property
    def kept(self) -> float:
        """Seconds of the updates that stand."""
        return math.fsum(seconds for _, _, seconds in self._stretches)

    def begin_life(self) -> None:
        """Another process goes on, and counts from zero."""
        self.applied_seconds = 0.0
        self._flagged.clear()

    def flagged(self, step: int) -> None:
        """The update of this step was discarded."""
        self._flagged.append(step)

    def settle(self, step: float, applied_seconds: float | None = None) -> None:
        """Give what is pending to the steps that were used up since.

        Args:
            step: so many are used up now.
            applied_seconds: what all updates of this process have taken; None: as their mean, as far as there is time.
        """
        flagged = sum(self._step <= each < step for each in self._flagged)
        self._flagged.clear()
        count = max(0.0, step - self._step)
        if applied_seconds is None or math.isnan(applied_seconds):
            taken = self.pending if self.mean_seconds is None else (count - flagged) * self.mean_seconds
        else:
            taken = applied_seconds - self.applied_seconds
        taken = min(max(taken, 0.0), self.pending)
        self.applied_seconds += taken
        self.rest += self.pending - taken
        self.pending = 0.0
        if taken and count:
            self._stretches.append((self._step, step, taken))
            if math.isfinite(count) and count > flagged:
                self.mean_seconds = taken / (count - flagged)
        else:
            self.rest += taken
        self.wasted += self.take_rest(flagged * (self.mean_seconds or 0.0))
        self._step = max(self._step, step)

    def settle_tail(self) -> None:
        """The process is gone: what it did since its last word belongs to steps that nobody knows of."""
        if self.pending:
            self._stretches.append((self._step, math.inf, self.pending))
            self.pending = 0.0
        self._flagged.clear()

    def take_rest(self, seconds: float) -> float:
        """Take up to so many seconds out of what no update took."""
        taken = min(max(seconds, 0.0), self.rest) if seconds == seconds else 0.0
        self.rest -= taken
        return taken

    def lose(self, first: float, last: float = math.inf) -> None:
        """The steps from `first` up to `last` were done for nothing."""
        kept: list[tuple[float, float, float]] = []
        for begin, end, seconds in self._stretches:
            share = _share(begin, end, first, last)
            self.wasted += seconds * share
            if share < 1:
                # An end that is lost is cut off, so that it is not lost again; what is lost within keeps its ends.
                kept.append((begin, min(end, max(first, begin)) if last >= end else end, seconds * (1 - share)))
        self._stretches = kept

    def back_to(self, step: float) -> None:
        """All after so many steps is lost, and they come again."""
        self.lose(step)
        self._step = step


def _share(begin: float, end: float, first: float, last: float) -> float:
    """How much of the steps from `begin` to `end` lies between `first` and `last`."""
    if math.isinf(end):
        # How many steps it holds is not known: all of it is lost with the first of them.
        return 1.0 if last == math.inf or first <= begin < last else 0.0
    return max(0.0, min(end, last) - max(begin, first)) / (end - begin)
