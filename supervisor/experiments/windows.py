"""What describes one state alone, and goes back with it: the windows of the detectors, and the canaries."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from supervisor.experiments.canaries import Canary, RecentCanaries, canaries_of
from supervisor.signals import Detectors

__all__ = ["Memory", "Windows"]


@dataclass(frozen=True, slots=True)
class Memory:
    """What was remembered with one state.

    Attributes:
        detectors: their `state_dict`.
        canaries: the last healthy batches of then.
    """

    detectors: Mapping[str, Any]
    canaries: tuple[Canary, ...]


@dataclass(frozen=True, slots=True)
class Windows:
    """Takes them down with a state, and puts them back with it.

    Attributes:
        detectors: what is usual.
        canaries: the last healthy batches.
    """

    detectors: Detectors
    canaries: RecentCanaries

    def remember(self) -> Memory:
        """Those of now."""
        return Memory(self.detectors.state_dict(), self.canaries.remember())

    def recall(self, memory: Memory) -> None:
        """Put back what `remember` gave."""
        self.detectors.load_state_dict(memory.detectors)
        self.canaries.recall(memory.canaries)

    def of_checkpoint(self, tree: Mapping[str, Any]) -> Memory:
        """Those that a checkpoint holds; one of an older version holds no canaries.

        Raises:
            KeyError: it holds no windows.
        """
        return Memory(tree["panel"], canaries_of(tree.get("canaries", ())))
