"""Tables as Parquet: those that grow are folders of parts, of which the last one is written anew until it is full."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from supervisor.run_layout import replace_file_with
from supervisor.sinks.base import Memory
from supervisor.sinks.tables import COLUMNS, GROWING, Row

__all__ = ["ParquetStore"]

PART_ROWS = 20_000
_TYPES = {int: pa.int64(), float: pa.float64(), str: pa.string()}


class ParquetStore:
    """`steps/` and `evaluations/`, each a data set of `part-00000.parquet` and so on, and `incidents.parquet`.

    Args:
        directory: the folder that they lie in.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        # Of the part that is being filled: its number, and its rows.
        self._parts: dict[str, int] = dict.fromkeys(GROWING, 0)
        self._rows: dict[str, list[Row]] = {name: [] for name in GROWING}
        self._changed: set[str] = set()
        pa.set_cpu_count(1)
        pa.set_io_thread_count(1)

    def open(self, memory: Memory) -> None:
        """Drop what was written since.

        Raises:
            OSError: a file cannot be written.
        """
        for name in GROWING:
            part, rows = (int(each) for each in memory.get(name, (0, 0)))
            self._folder(name).mkdir(parents=True, exist_ok=True)
            path = self._path(name, part)
            self._parts[name] = part
            self._rows[name] = _rows(pq.read_table(path))[:rows] if rows and path.is_file() else []
            self._changed.add(name)
            self._drop_parts(name, after=part)
        if not (self._directory / "incidents.parquet").is_file():
            self.replace("incidents", [])

    def append(self, table: str, row: Row) -> None:
        """Add a row; a part that is full is written at once."""
        self._rows[table].append(row)
        self._changed.add(table)
        if len(self._rows[table]) >= PART_ROWS:
            self._write(table)
            self._parts[table] += 1
            self._rows[table] = []

    def take_back(self, update: int) -> None:
        """Drop the rows of that update and of later ones, part after part from the last one on."""
        for name in GROWING:
            at = [*COLUMNS[name]].index("update")
            kept = [row for row in self._rows[name] if not _at_or_above(row[at], update)]
            while not kept and self._parts[name] > 0:
                self._parts[name] -= 1
                found = pq.read_table(self._path(name, self._parts[name]))
                kept = _rows(found.filter(pc.fill_null(pc.less(found["update"], update), True)))
            self._rows[name] = kept
            self._changed.add(name)
            self._drop_parts(name, after=self._parts[name])

    def replace(self, table: str, rows: list[Row]) -> None:
        """Write a table anew."""
        self._directory.mkdir(parents=True, exist_ok=True)
        _store(self._directory / f"{table}.parquet", table, rows)

    def flush(self) -> Memory:
        """Write the parts that are being filled; which they are, and how many rows they have."""
        for name in sorted(self._changed):
            self._write(name)
        self._changed.clear()
        return {name: [self._parts[name], len(self._rows[name])] for name in GROWING}

    def close(self) -> None:
        """Nothing is open between two calls."""

    def _write(self, table: str) -> None:
        _store(self._path(table, self._parts[table]), table, self._rows[table])

    def _folder(self, table: str) -> Path:
        return self._directory / table

    def _path(self, table: str, part: int) -> Path:
        return self._folder(table) / f"part-{part:05d}.parquet"

    def _drop_parts(self, table: str, *, after: int) -> None:
        for path in self._folder(table).glob("part-*.parquet"):
            number = path.stem.removeprefix("part-")
            if number.isdecimal() and int(number) > after:
                path.unlink()


def _store(path: Path, table: str, rows: list[Row]) -> None:
    columns = COLUMNS[table]
    arrays: list[Any] = [
        pa.array([row[index] for row in rows], _TYPES[kind]) for index, kind in enumerate(columns.values())
    ]
    found = pa.Table.from_arrays(arrays, names=[*columns])
    replace_file_with(path, lambda file: pq.write_table(found, file))


def _rows(table: pa.Table) -> list[Row]:
    return list(zip(*(column.to_pylist() for column in table.columns), strict=True))


def _at_or_above(update: object, first: int) -> bool:
    return isinstance(update, int) and update >= first
