"""Where a run was started: the working directory, which relative paths and the trainer's import go by."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path

from supervisor.config.origins import one_line
from supervisor.errors import InputError
from supervisor.run_layout import RunLayout, replace_file

__all__ = ["go_to_place", "place_of", "write_place"]

KEY = "working_directory"


def write_place(layout: RunLayout) -> None:
    """Note the present working directory in the run directory.

    Raises:
        OSError: it cannot be written.
    """
    place = str(Path.cwd())
    # A run that is resumed on a full disk needs no room for what stands there already.
    if _read(layout) != place:
        # Escaped, for a name need not be UTF-8.
        replace_file(layout.place, f"{json.dumps({KEY: place}, indent=2)}\n")


def place_of(layout: RunLayout, shown: str) -> Path | None:
    """The directory in which the run was started or resumed last; None where an earlier version did not note it.

    Args:
        layout: of the run directory.
        shown: that directory as the user typed it.

    Raises:
        InputError: it is not there any more.
    """
    place = _read(layout)
    if place is None:
        return None
    if not Path(place).is_dir():
        raise InputError(
            f"{shown}: was started in {one_line(place)}, which is not there: "
            "resume it from where its trainer lies now: supervisor run JOB.yaml --resume"
        )
    return Path(place)


def go_to_place(layout: RunLayout, shown: str) -> None:
    """Make it the working directory of this process, where it is known: relative paths and imports go by it.

    Raises:
        InputError: as `place_of`.
    """
    place = place_of(layout, shown)
    if place is not None:
        os.chdir(place)


def _read(layout: RunLayout) -> str | None:
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        found = json.loads(layout.place.read_bytes())[KEY]
        return found if isinstance(found, str) else None
    return None
