"""The checkpoints that a run directory holds, without reading them."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
from dataclasses import dataclass
from pathlib import Path

from supervisor.run_layout import RunLayout

__all__ = ["CheckpointThere", "checkpoints_there"]


@dataclass(frozen=True, slots=True)
class CheckpointThere:
    """A committed checkpoint, not verified.

    Attributes:
        path: relative to the run directory.
        good: it carries the mark of its own manifest.
    """

    path: str
    good: bool


def checkpoints_there(layout: RunLayout) -> list[CheckpointThere]:
    """The checkpoints of a run that have a manifest that can be read, oldest first."""
    found = []
    for folder in layout.checkpoints.glob("step-*"):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
            manifest = (folder / "manifest.json").read_bytes()
            told = json.loads(manifest)
            update = math.inf if told.get("update") is None else int(told["update"])
            good = _mark(folder) == hashlib.sha256(manifest).hexdigest()
            found.append((update, int(told["step"]), f"{layout.checkpoints.name}/{folder.name}", good))
    return [CheckpointThere(path, good) for _, _, path, good in sorted(found)]


def _mark(folder: Path) -> str | None:
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
        return str(json.loads((folder / "good.json").read_bytes())["manifest_sha256"])
    return None
