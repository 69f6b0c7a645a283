"""`observations.jsonl`: what every update measured, for a replay through other detectors."""

from __future__ import annotations

import contextlib
import json
from dataclasses import asdict
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from supervisor.errors import InputError
from supervisor.events.base import nonfinite_as_word
from supervisor.events.line_file import LineFile
from supervisor.records import Observation
from supervisor.run_layout import RunLayout

__all__ = ["OBSERVATIONS", "ObservationFile", "read_observations"]

OBSERVATIONS = RunLayout(Path()).observations.name


class ObservationFile:
    """Appends one strict-JSON line an update; non-finite floats are the words of the event log.

    A disk that refuses a line is met with silence: the event log, on the same disk, says so, and a replay falls back
    on the recorded findings for the updates that are missing.

    Args:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        self._file = LineFile(path)

    def write(self, observation: Observation) -> None:
        """Append what one update measured."""
        fields = {name: nonfinite_as_word(value) for name, value in asdict(observation).items()}
        with contextlib.suppress(OSError):
            self._file.append(json.dumps(fields, allow_nan=False), durable=False)

    def close(self) -> None:
        """Close the file; a later `write` opens it again."""
        self._file.close()


def read_observations(run_dir: Path) -> dict[int, Observation] | None:
    """The observations of a run by update, None where it kept none.

    A run that was resumed measured some updates twice: the last line about an update counts.

    Raises:
        InputError: a line before the last is not an observation.
    """
    path = RunLayout(run_dir).observations
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return None
    adapter = TypeAdapter(Observation)
    found: dict[int, Observation] = {}
    for number, line in enumerate(lines[:-1], start=1):
        try:
            observation = adapter.validate_json(line)
        except ValidationError as error:
            if number == len(lines) - 1:
                break
            raise InputError(f"{path}:{number}: not an observation: restore or delete the file") from error
        found[observation.update] = observation
    return found
