"""What a glob that matches nothing is answered with; and the record of what has struck: on the disk, once, and read
again by the next process."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from supervisor.errors import InputError
from supervisor.faults.strike import FaultJournal, FaultRecord, read_fault_records, unmatched


def record(fault: int = 0, batch: int = 4) -> FaultRecord:
    time = datetime(2026, 1, 1, tzinfo=UTC)
    return FaultRecord(fault=fault, kind="nan_batch", batch=batch, step=3, update=5, time=time, target="samples 0 to 0")


def test_a_strike_is_on_the_disk_and_in_the_memory(tmp_path: Path) -> None:
    path = tmp_path / "faults.jsonl"
    journal = FaultJournal(path)
    assert not journal.holds(0, 4)
    assert journal.add(record())
    assert journal.holds(0, 4)
    assert not journal.holds(1, 4)
    assert not journal.holds(0, 5)
    assert read_fault_records(path) == [record()]
    assert json.loads(path.read_text())["time"] == "2026-01-01T00:00:00.000000Z"


def test_the_next_process_knows_what_has_struck(tmp_path: Path) -> None:
    path = tmp_path / "faults.jsonl"
    FaultJournal(path).add(record())
    journal = FaultJournal(path)
    assert journal.holds(0, 4)
    journal.add(record(batch=9))
    assert [each.batch for each in read_fault_records(path)] == [4, 9]


def test_without_a_file_it_remembers_by_itself() -> None:
    journal = FaultJournal(None)
    assert journal.add(record())
    assert journal.holds(0, 4)
    assert not FaultJournal(None).holds(0, 4)


def test_what_the_disk_refuses_has_not_struck(tmp_path: Path) -> None:
    path = tmp_path / "faults.jsonl"
    journal = FaultJournal(path)
    path.mkdir()
    assert not journal.add(record())
    assert not journal.holds(0, 4)


def test_no_file_is_no_record(tmp_path: Path) -> None:
    assert read_fault_records(tmp_path / "faults.jsonl") == []


def test_a_torn_last_line_is_left_out_and_another_is_an_error_that_names_it(tmp_path: Path) -> None:
    path = tmp_path / "faults.jsonl"
    journal = FaultJournal(path)
    journal.add(record())
    journal.add(record(batch=9))
    os.truncate(path, path.stat().st_size - 5)
    assert read_fault_records(path) == [record()]
    path.write_text("not a record\n" + path.read_text())
    with pytest.raises(InputError, match=r"faults\.jsonl:1: not a record of a fault: .*: restore or delete it"):
        read_fault_records(path)


NAMES = ("encoder.weight", "encoder.bias", "head.weight", "head.bias")


def test_the_nearest_names_are_offered() -> None:
    error = unmatched("parameter", "haed.weight", NAMES)
    assert isinstance(error, InputError)
    said, _, offered = str(error).partition("write one of: ")
    assert said == "faults: parameter: 'haed.weight' matches no parameter: "
    assert offered.split(", ")[0] == "head.weight"


def test_where_none_is_near_the_first_are_offered() -> None:
    assert str(unmatched("module", "zzz", iter(NAMES))).endswith("encoder.weight, encoder.bias, head.weight")
