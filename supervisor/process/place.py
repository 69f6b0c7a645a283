"""Where a run was started: the working directory, which relative paths and the trainer's import go by."""

from __future__ import annotations

import contextlib
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from supervisor.config.origins import one_line
from supervisor.errors import InputError
from supervisor.run_layout import RunLayout, replace_file

__all__ = ["place_of", "write_place"]


class _Place(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True)

    working_directory: str


def write_place(layout: RunLayout) -> None:
    """Note the present working directory in the run directory.

    Raises:
        OSError: it cannot be written.
    """
    place = _Place(working_directory=str(Path.cwd()))
    # A run that is resumed on a full disk needs no room for what stands there already.
    if _read(layout) != place:
        replace_file(layout.place, f"{place.model_dump_json(indent=2)}\n")


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
    if not Path(place.working_directory).is_dir():
        raise InputError(
            f"{shown}: was started in {one_line(place.working_directory)}, which is not there: "
            "resume it from where its trainer lies now: supervisor run JOB.yaml --resume"
        )
    return Path(place.working_directory)


def _read(layout: RunLayout) -> _Place | None:
    with contextlib.suppress(OSError, ValidationError):
        return _Place.model_validate_json(layout.place.read_bytes())
    return None
