"""Which rows of the data set are being read, in memory that outlives the process that reads them."""

from __future__ import annotations

import json
import mmap
import operator
import os
import struct
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

__all__ = ["MOST_PROCESSES", "ReadingNote", "mend_of_rows", "new_reading_file", "rows_being_read", "said_of_rows"]

MOST_PROCESSES = 64
"""The training process and those of its loader; further ones take no notes."""

_SLOT = struct.Struct("=q248s")
"""Process id, 0 while it reads nothing; the rows as JSON without the brackets."""

_MOST_SHOWN = 8

_NOTHING = struct.pack("=q", 0)


def new_reading_file(path: Path) -> None:
    """Make the file anew, without a note in it.

    Raises:
        OSError: it cannot be made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(_SLOT.size * MOST_PROCESSES))


class ReadingNote:
    """One process's note.

    Args:
        path: the file.
        number: which of the processes this is, from 0.

    Raises:
        OSError: the file cannot be mapped.
        ValueError: it is not there in its full length, or has no place for this process.
    """

    def __init__(self, path: Path, number: int) -> None:
        if not 0 <= number < MOST_PROCESSES:
            raise ValueError(f"{number}: there is place for {MOST_PROCESSES} processes")
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), _SLOT.size * MOST_PROCESSES)
        self._at = number * _SLOT.size
        self._pid = os.getpid()

    def begin(self, row: object) -> None:
        """Say that a row is read from now on."""
        _SLOT.pack_into(self._map, self._at, self._pid, _written(row))

    def begin_several(self, rows: Iterable[object]) -> None:
        """Say that rows are read, in whichever order; those that fit are noted."""
        text = b""
        for written in filter(None, map(_written, rows)):
            longer = text + b"," + written if text else written
            if len(longer) > _SLOT.size - len(_NOTHING):
                break
            text = longer
        _SLOT.pack_into(self._map, self._at, self._pid, text)

    def end(self) -> None:
        """Say that they are read."""
        self._map[self._at : self._at + len(_NOTHING)] = _NOTHING


def rows_being_read(path: Path, processes: Collection[int] | None = None) -> tuple[int | str, ...]:
    """The rows that were being read when the processes ended; none where no note tells.

    Args:
        path: the file.
        processes: whose rows are meant; None: those of all that have taken notes.
    """
    try:
        slots = list(_SLOT.iter_unpack(path.read_bytes()))
    except (OSError, struct.error):
        return ()
    found: dict[int | str, None] = {}
    for pid, text in slots:
        if pid and (processes is None or pid in processes):
            found.update(dict.fromkeys(_read(text)))
    return tuple(found)


def said_of_rows(rows: Sequence[int | str]) -> str:
    """That rows, at least one, were being read: `row 17 of the data set was being read`."""
    if len(rows) == 1:
        return f"row {rows[0]} of the data set was being read"
    more = f" and {len(rows) - _MOST_SHOWN} more" if len(rows) > _MOST_SHOWN else ""
    return f"one of the rows {', '.join(map(str, rows[:_MOST_SHOWN]))}{more} of the data set was being read"


def mend_of_rows(rows: Sequence[int | str], path: str) -> str:
    """What a person can do about rows that were being read when a worker ended.

    Args:
        rows: the rows, at least one.
        path: of the list of those that are not read any more, as it is shown.
    """
    line = json.dumps({"index": rows[0]})
    if len(rows) == 1:
        return f"mend the row, or leave it out by a line {line} in {path}"
    return f"find the one at fault, and mend it or leave it out by a line as {line} in {path}"


def _written(row: object) -> bytes:
    if isinstance(row, str):
        return json.dumps(row).encode()
    try:
        return b"%d" % operator.index(row)  # type: ignore[arg-type]
    except TypeError:
        # Other kinds of keys cannot be named in a list of rows.
        return b""


def _read(text: bytes) -> list[int | str]:
    try:
        rows = json.loads(b"[" + text.rstrip(b"\0") + b"]")
    except ValueError:
        # A name that did not fit.
        return []
    return [row for row in rows if isinstance(row, (int, str))]
