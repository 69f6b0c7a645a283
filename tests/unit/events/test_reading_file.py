"""The rows that a process is reading, as another one finds them."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from supervisor.events.reading_file import (
    MOST_PROCESSES,
    ReadingNote,
    mend_of_rows,
    new_reading_file,
    rows_being_read,
    said_of_rows,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    new_reading_file(tmp_path / "heartbeat" / "rank0.reading")
    return tmp_path / "heartbeat" / "rank0.reading"


@pytest.mark.parametrize(("row", "expected"), [(17, 17), (np.int64(3), 3), ('a, "b"\n', 'a, "b"\n'), ("é", "é")])
def test_a_row_is_there_while_it_is_read(path: Path, row: object, expected: int | str) -> None:
    note = ReadingNote(path, 0)
    assert rows_being_read(path) == ()
    note.begin(row)
    assert rows_being_read(path) == (expected,)
    note.end()
    assert rows_being_read(path) == ()


def test_those_of_each_process(path: Path) -> None:
    first, second = ReadingNote(path, 0), ReadingNote(path, MOST_PROCESSES - 1)
    first.begin(1)
    second.begin_several([4, "x", 1])
    assert rows_being_read(path) == (1, 4, "x")
    assert rows_being_read(path, [os.getpid()]) == (1, 4, "x")
    assert rows_being_read(path, [os.getpid() + 1]) == ()


def test_of_more_rows_than_there_is_place_for_the_first_are_there(path: Path) -> None:
    ReadingNote(path, 0).begin_several(range(1000))
    found = rows_being_read(path)
    assert found == tuple(range(len(found)))
    assert len(found) > 50


@pytest.mark.parametrize("row", ["x" * 1000, (1, 2), None])
def test_what_cannot_be_named_is_not(path: Path, row: object) -> None:
    ReadingNote(path, 0).begin(row)
    assert rows_being_read(path) == ()


def test_where_there_is_no_file_or_no_place(path: Path, tmp_path: Path) -> None:
    assert rows_being_read(tmp_path / "none") == ()
    (tmp_path / "torn").write_bytes(b"\xff" * 100)
    assert rows_being_read(tmp_path / "torn") == ()
    with pytest.raises(ValueError, match="there is place for"):
        ReadingNote(path, MOST_PROCESSES)
    with pytest.raises(ValueError, match="mmap length"):
        ReadingNote(tmp_path / "torn", 0)


def test_what_is_said_of_them() -> None:
    assert said_of_rows([17]) == "row 17 of the data set was being read"
    assert said_of_rows(range(3)) == "one of the rows 0, 1, 2 of the data set was being read"
    assert " 7 and 92 more of the data set" in said_of_rows(range(100))
    assert mend_of_rows([17], "x.jsonl") == 'mend the row, or leave it out by a line {"index": 17} in x.jsonl'
    assert mend_of_rows(["a"], "x").endswith('{"index": "a"} in x')
    assert mend_of_rows([1, 2], "x").startswith("find the one at fault")
