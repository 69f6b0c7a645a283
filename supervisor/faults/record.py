"""`RUN_DIR/faults.jsonl`: what was injected, on the disk before it strikes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel, ConfigDict, NonNegativeInt, ValidationError

from supervisor.errors import InputError
from supervisor.events.base import UtcTime
from supervisor.events.line_file import LineFile

__all__ = ["FaultJournal", "FaultRecord", "read_fault_records"]


class FaultRecord(BaseModel):
    """One strike of one fault.

    Attributes:
        fault: its index in the script, from 0.
        kind: its kind.
        batch: number of the batch that it struck at, from 0 over all epochs.
        step: schedule position at that time, None where nobody told.
        update: attempted update, likewise.
        time: when.
        target: what was hit, as a parameter's name or a checkpoint's path; None where there is nothing to name.
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    fault: NonNegativeInt
    kind: str
    batch: NonNegativeInt
    step: NonNegativeInt | None
    update: NonNegativeInt | None
    time: UtcTime
    target: str | None = None


class FaultJournal:
    """Remembers every strike, across restarts where there is a file.

    A worker that goes on after its own death comes to the same batch numbers again: what this journal holds strikes
    no second time.

    Args:
        path: `RUN_DIR/faults.jsonl`, or None to remember in memory alone.
    """

    def __init__(self, path: Path | None) -> None:
        self._file = None if path is None else LineFile(path)
        earlier = [] if path is None else read_fault_records(path)
        self._struck = {(record.fault, record.batch) for record in earlier}

    def holds(self, fault: int, batch: int) -> bool:
        """Whether a fault has struck at a batch before."""
        return (fault, batch) in self._struck

    def add(self, record: FaultRecord) -> bool:
        """Put a strike on record, durably.

        Returns:
            False where the disk refuses: what cannot be put on record must not strike, for it would strike again.
        """
        if self._file is not None:
            try:
                self._file.append(record.model_dump_json(), durable=True)
            except OSError:
                return False
        self._struck.add((record.fault, record.batch))
        return True


def read_fault_records(path: Path) -> list[FaultRecord]:
    """The strikes of a run, in order; none where there is no file. A torn last line is left out.

    Raises:
        InputError: a line before the last is no record.
    """
    return list(_records(path))


def _records(path: Path) -> Iterator[FaultRecord]:
    lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
    for number, line in enumerate(lines, start=1):
        try:
            yield FaultRecord.model_validate_json(line)
        except ValidationError as error:
            if number == len(lines):
                return
            what = error.errors(include_url=False)[0]["msg"]
            raise InputError(f"{path}:{number}: not a record of a fault: {what}: restore or delete it") from error
