"""A strike of a fault: ready, impossible, or on record in `RUN_DIR/faults.jsonl`, where it is before it strikes."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, NonNegativeInt, ValidationError

from supervisor.errors import InputError
from supervisor.events.base import UtcTime
from supervisor.events.line_file import LineFile

__all__ = ["FaultJournal", "FaultMisfit", "FaultRecord", "Strike", "read_fault_records", "unmatched"]


@dataclass(frozen=True, slots=True)
class Strike:
    """A fault that is ready to strike.

    Attributes:
        target: what it hits, None where there is nothing to name.
        do: strikes; may raise, block, or not return.
    """

    target: str | None
    do: Callable[[], object]


class FaultMisfit(InputError):
    """A fault that is right by itself cannot strike this trainer.

    Args:
        what: what is wrong, and what to write instead.
        key: the fault's key at fault; none for the fault itself.
    """

    def __init__(self, what: str, key: str = "") -> None:
        super().__init__(f"faults: {key}: {what}" if key else f"faults: {what}")
        self.what, self.path = what, (key,) if key else ()

    def of(self, index: int) -> FaultMisfit:
        """The same, with the fault's index in its script before the key."""
        self.path = ("faults", index, *self.path)
        return self


def unmatched(key: str, pattern: str, names: Iterable[str]) -> FaultMisfit:
    """The error for a glob that matches nothing, with the nearest names."""
    known = list(names)
    nearest = ", ".join(difflib.get_close_matches(pattern, known, n=3, cutoff=0.3) or known[:3])
    return FaultMisfit(f"{pattern!r} matches no {key}: write one of: {nearest}", key)


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
        life: which worker of the run it struck in, from 1, as the events of that worker say; None where nobody counts.
        monotonic: seconds of the machine's monotonic clock, as on the events: `time` may jump. None in records of
            before.
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    fault: NonNegativeInt
    kind: str
    batch: NonNegativeInt
    step: NonNegativeInt | None
    update: NonNegativeInt | None
    time: UtcTime
    target: str | None = None
    life: NonNegativeInt | None = None
    monotonic: float | None = None


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
    records: list[FaultRecord] = []
    lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
    for number, line in enumerate(lines, start=1):
        try:
            records.append(FaultRecord.model_validate_json(line))
        except ValidationError as error:
            if number == len(lines):
                break
            what = error.errors(include_url=False)[0]["msg"]
            raise InputError(f"{path}:{number}: not a record of a fault: {what}: restore or delete it") from error
    return records
