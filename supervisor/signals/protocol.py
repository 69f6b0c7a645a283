"""What every detector offers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from supervisor.records import Observation, Signal

__all__ = ["Detector"]


class Detector(Protocol):
    """Looks at one observation at a time; remembers only healthy ones."""

    def inspect(self, observation: Observation) -> Signal | None:
        """The finding about this observation, None when there is none. Changes nothing."""
        ...

    def accept(self, observation: Observation) -> None:
        """Take a healthy observation into the window."""
        ...

    def flagged(self, observation: Observation) -> None:
        """Note that the update was flagged, by whichever detector. Its values enter no window."""
        ...

    def restored(self) -> None:
        """A good state was put back: drop what belonged to the one that was left. Windows stay."""
        ...

    def forget(self) -> None:
        """Empty the window."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """What the detector remembers, as plain values."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back what `state_dict` gave."""
        ...
