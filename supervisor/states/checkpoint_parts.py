"""What a checkpoint carries beside the restore point and the ledger: a registry of named parts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from supervisor.training.trainer import Stateful

__all__ = ["CheckpointParts"]


class CheckpointParts:
    """The parts of a run whose memory goes into its checkpoints, by the name they have there.

    Args:
        **parts: each under its name. The names are part of the file format.
    """

    def __init__(self, **parts: Stateful) -> None:
        self._parts = parts

    def tree(self) -> dict[str, Any]:
        """What every part remembers."""
        return {name: part.state_dict() for name, part in self._parts.items()}

    def load(self, tree: Mapping[str, Any]) -> None:
        """Have every part take its own back.

        Raises:
            KeyError: one is missing in `tree`.
        """
        for name, part in self._parts.items():
            part.load_state_dict(tree[name])
