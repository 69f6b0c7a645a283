"""Tables as CSV files that grow by lines; what a process wrote after its last flush is cut off by the next one."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import BinaryIO

from supervisor.events.base import nonfinite_as_word
from supervisor.run_layout import replace_file, replace_file_with
from supervisor.sinks.base import Memory
from supervisor.sinks.tables import COLUMNS, GROWING, UPDATE, Row

__all__ = ["CsvStore"]


class CsvStore:
    """`steps.csv`, `evaluations.csv` and `incidents.csv` in one folder: UTF-8, a head line, `nan` and `inf` as words.

    Args:
        directory: the folder.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._sizes: dict[str, int] = {}
        self._waiting: dict[str, list[Row]] = {name: [] for name in GROWING}

    def open(self, memory: Memory) -> None:
        """Cut off what was written since.

        Raises:
            OSError: a file cannot be written.
        """
        self._directory.mkdir(parents=True, exist_ok=True)
        sizes = memory.get("sizes", {})
        for name in COLUMNS:
            path = self._path(name)
            kept = int(sizes.get(name, 0))
            if name in GROWING and kept and path.is_file() and path.stat().st_size >= kept:
                os.truncate(path, kept)
                self._sizes[name] = kept
            elif name in GROWING or not path.is_file():
                self.replace(name, [])

    def append(self, table: str, row: Row) -> None:
        """Add a row, which the next flush writes."""
        self._waiting[table].append(row)

    def take_back(self, update: int) -> None:
        """Write the tables anew without the rows of that update and of later ones."""
        self.flush()
        for name in GROWING:
            if self._sizes[name] > len(_lines(name, [])):
                replace_file_with(self._path(name), partial(self._copy, name, update))
                self._sizes[name] = self._path(name).stat().st_size

    def replace(self, table: str, rows: list[Row]) -> None:
        """Write a table anew."""
        replace_file(self._path(table), _lines(table, rows))
        if table in GROWING:
            self._sizes[table] = self._path(table).stat().st_size

    def flush(self) -> Memory:
        """Append what waits; how long each file is now."""
        for name, rows in self._waiting.items():
            if not rows:
                continue
            with self._path(name).open("ab") as file:
                # What a write that failed has left is written over.
                file.truncate(self._sizes[name])
                file.write(_lines(name, rows, head=False))
            self._sizes[name] = self._path(name).stat().st_size
            rows.clear()
        return {"sizes": dict(self._sizes)}

    def close(self) -> None:
        """Nothing is open between two calls."""

    def _path(self, table: str) -> Path:
        return self._directory / f"{table}.csv"

    def _copy(self, table: str, update: int, to: BinaryIO) -> None:
        with self._path(table).open(newline="", encoding="utf-8") as file:
            rows = csv.reader(file)
            head = next(rows)
            to.write(_text([head]))
            for row in rows:
                if not row[UPDATE] or int(row[UPDATE]) < update:
                    to.write(_text([row]))


def _lines(table: str, rows: list[Row], *, head: bool = True) -> bytes:
    plain = [["" if cell is None else nonfinite_as_word(cell) for cell in row] for row in rows]
    heads = [[*COLUMNS[table]]] if head else []
    return _text([*heads, *plain])


def _text(rows: Iterable[Iterable[object]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()
