"""Which row is left out, after which deaths."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest

from supervisor.events.quarantine_file import read_quarantine
from supervisor.events.schema import ExitClassification as Kind
from supervisor.process.deadly_rows import DeadlyRows
from supervisor.process.exits import WorkerEnd


def died(*rows: Any, code: int = 1, kind: Kind = Kind.EXCEPTION) -> WorkerEnd:
    return WorkerEnd(code, kind, rows=rows)


def judged(path: Path, *ends: WorkerEnd, enabled: bool = True) -> list[Any]:
    rows = DeadlyRows(path, enabled=enabled)
    return [rows.judge(end) for end in ends]


CRASH = died(17, code=-signal.SIGSEGV, kind=Kind.KILLED)
KILL = died(17, code=-signal.SIGKILL, kind=Kind.KILLED)


@pytest.mark.parametrize(
    ("ends", "expected"),
    [
        ((died(17), died(17)), [None, 17]),
        ((CRASH, CRASH), [None, 17]),
        ((died(17, kind=Kind.STALLED), died(17, kind=Kind.STALLED)), [None, 17]),
        ((died(17, kind=Kind.OUT_OF_MEMORY), died(17, kind=Kind.OUT_OF_MEMORY)), [None, 17]),
        ((died(16, 17), died(17)), [None, 17]),
        ((died(17), died(), died(17)), [None, None, 17]),
        ((died(17), KILL, died(17)), [None, None, 17]),
        # Of each, somebody else may have ended it.
        ((KILL, KILL, KILL), [None, None, None]),
        ((died(17), died(18), died(19)), [None, None, None]),
        ((died(16, 17), died(16, 17)), [None, None]),
        ((died(17), died(17), died(17)), [None, 17, None]),
    ],
)
def test_the_row_that_was_being_read_twice_is_at_fault(
    tmp_path: Path, ends: tuple[WorkerEnd, ...], expected: list[int | None]
) -> None:
    path = tmp_path / "deadly_rows.jsonl"
    assert judged(path, *ends) == expected
    convicted = [row for row in expected if row is not None]
    assert ([sample.index for sample in read_quarantine(path)] if path.exists() else []) == convicted


def test_the_list_keeps_what_it_holds(tmp_path: Path) -> None:
    path = tmp_path / "deadly_rows.jsonl"
    path.write_text('{"index": "a"}\n')
    judged(path, died(17), died(17))
    first, second = read_quarantine(path)
    assert (first.index, second.index) == ("a", 17)
    assert second.reason == "the process that read it ended, and so did another (exit code 1)"


def test_where_rows_may_not_be_left_out_or_the_list_not_be_written_none_is(tmp_path: Path) -> None:
    assert judged(tmp_path / "list", died(17), died(17), enabled=False) == [None, None]
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").touch()
    assert judged(tmp_path / "file" / "list", died(17), died(17)) == [None, None]
