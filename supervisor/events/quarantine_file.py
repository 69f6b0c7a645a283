"""`RUN_DIR/quarantine.jsonl`: the samples of the data set that are left out, one a line."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from pydantic import NonNegativeInt, PositiveInt, ValidationError

from supervisor.errors import InputError
from supervisor.events.base import RecordModel
from supervisor.run_layout import replace_file

__all__ = ["QuarantinedSample", "read_quarantine", "write_quarantine"]


class QuarantinedSample(RecordModel):
    """One sample that is left out.

    Attributes:
        index: its index in the data set.
        incident: the incident it caused, in the run that found it; None where a person wrote the line.
        step: schedule position of that strike.
        update: its update.
        batch_number: number of its batch.
        reason: what was found.
    """

    index: int | str
    incident: PositiveInt | None = None
    step: NonNegativeInt | None = None
    update: NonNegativeInt | None = None
    batch_number: NonNegativeInt | None = None
    reason: str | None = None


def read_quarantine(path: Path | str) -> tuple[QuarantinedSample, ...]:
    """The samples of a list.

    Raises:
        InputError: it cannot be read, or a line is not a sample; with its number.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "not a text file"
        raise InputError(f"{path}: cannot be read ({why}): give the quarantine.jsonl of an earlier run") from error
    samples, problems = [], []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            samples.append(QuarantinedSample.model_validate_json(line, strict=True))
        except ValidationError:
            problems.append(f'{path}:{number}: is no quarantined sample: write {{"index": 123}}')
    if problems:
        raise InputError(*problems)
    return tuple(samples)


def write_quarantine(path: Path, samples: Iterable[QuarantinedSample]) -> None:
    """Write a list, whole or not at all.

    Raises:
        OSError: it cannot be written.
    """
    replace_file(path, "".join(f"{sample.model_dump_json()}\n" for sample in samples))
