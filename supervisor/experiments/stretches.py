"""The stretch of odd updates that is on trial, and all finite updates that were left out so far."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from supervisor.experiments.canaries import Canary
from supervisor.experiments.stretch import Stretch
from supervisor.signals import Detectors
from supervisor.training.state import Subject, TrainingState, VolatileState

__all__ = ["Stretches"]


@dataclass(slots=True)
class Stretches:
    """Opens and ends them, and holds the state from before the one that is on trial.

    Attributes:
        subject: the training objects.
        detectors: learn from a stretch once it proved to be harmless.
        open: the one on trial, None where none is.
        left_out: all finite updates that were left out, healthy ones between them or not; None where there are none.
    """

    subject: Subject
    detectors: Detectors
    open: Stretch | None = field(default=None, init=False)
    left_out: Stretch | None = field(default=None, init=False)
    _since: int = field(default=0, init=False)
    _spare: TrainingState | None = field(default=None, init=False)

    def begin(self, canaries: Sequence[Canary], before: VolatileState | None) -> None:
        """Open one.

        Args:
            canaries: it is judged by them.
            before: of its first update, whose state is pinned; None: without a pin.
        """
        pin = self._pinned(before)
        # A loader with several buffers comes to theirs within a stretch.
        self.open = Stretch(tuple([each.copy() for each in canaries]), pin)

    def begin_again(self, before: VolatileState | None) -> None:
        """Try odd updates anew, of which all were left out so far; `before` is as in `begin`."""
        stretch = self.open
        if stretch is not None:
            self.drop()
            self.open = stretch.begun_again(self._pinned(before))

    def _pinned(self, before: VolatileState | None) -> TrainingState | None:
        if before is None:
            return None
        pin, self._spare = self.subject.capture(self._spare, before), None
        return pin

    def end(self) -> None:
        """The one on trial harmed nothing, and is over: what it measured is usual."""
        stretch = self.open
        self.drop()
        if stretch is not None:
            for seen in stretch.accepted:
                self.detectors.accept(seen)

    def drop(self) -> None:
        """The one on trial is over, and nothing is learnt from it."""
        if self.open is not None and self.open.pin is not None:
            self._spare = self.open.pin
        self.open = None

    def drop_all(self) -> None:
        """Both are over."""
        self.drop()
        self.left_out = None

    def so_far(self, canaries: Sequence[Canary]) -> Stretch:
        """All that were left out, to be judged by the newest canaries; one more is coming."""
        self.left_out, self._since = self.left_out or Stretch((), None), 0
        self.left_out.canaries = tuple(canaries)
        return self.left_out

    def healthy(self, forget_after: int) -> None:
        """A healthy update; after so many of them without one that was left out, those are forgotten."""
        self._since += 1
        if self._since >= forget_after:
            self.left_out = None

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint holds of them."""
        return {
            "open": None if self.open is None else self.open.state_dict(),
            "left_out": None if self.left_out is None else self.left_out.state_dict(),
            "since": self._since,
        }

    def load_state_dict(self, state: Mapping[str, Any], kept: Sequence[Canary]) -> None:
        """Take back what `state_dict` gave; `kept` are the canaries of the same checkpoint."""
        self.open = None if state["open"] is None else Stretch.from_state(state["open"], kept)
        self.left_out = None if state["left_out"] is None else Stretch.from_state(state["left_out"], kept)
        self._since = state["since"]
