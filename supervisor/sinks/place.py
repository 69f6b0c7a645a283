"""How far a sink was told: a place in each file of the event log, kept in a file of the run directory."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from supervisor.run_layout import replace_file

__all__ = ["FilePlace", "Kept", "read_kept", "write_kept"]


@dataclass(frozen=True)
class FilePlace:
    """How far one file of the log was told.

    Attributes:
        identity: what tells the file from another one of its name.
        offset: where the next line starts, in bytes.
        line: how many lines are before it.
    """

    identity: str
    offset: int = 0
    line: int = 0


@dataclass(frozen=True)
class Kept:
    """What is kept of a sink from one process to the next.

    Attributes:
        places: by the name of the file of the log.
        memory: what the sink itself keeps.
    """

    places: Mapping[str, FilePlace] = field(default_factory=dict)
    memory: Mapping[str, Any] = field(default_factory=dict)


def read_kept(path: Path) -> Kept:
    """What is kept in a file; nothing where it is not there or cannot be understood."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
        found = json.loads(path.read_bytes())
        places = {
            str(name): FilePlace(str(each["identity"]), int(each["offset"]), int(each["line"]))
            for name, each in found["places"].items()
        }
        return Kept(places, dict(found["memory"]))
    return Kept()


def write_kept(path: Path, kept: Kept) -> None:
    """Write it, whole or not at all.

    Raises:
        OSError: it could not be written.
    """
    places = {name: vars(place) for name, place in kept.places.items()}
    replace_file(path, json.dumps({"places": places, "memory": dict(kept.memory)}) + "\n", durable=True)
