"""Tables as CSV, read by Python's own reader."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from support.written_run import HOSTILE, WrittenRun, feed, feed_on

from supervisor.sinks.csv_store import CsvStore
from supervisor.sinks.tables import COLUMNS, TableSink
from supervisor.sinks.tail import Tail


def read(folder: Path, table: str) -> list[dict[str, str]]:
    with (folder / f"{table}.csv").open(newline="", encoding="utf-8") as file:
        return [*csv.DictReader(file)]


def test_all_tables_are_there_with_their_columns(tmp_path: Path) -> None:
    run = WrittenRun(tmp_path / "run")
    run.start()
    run.steps(0, 1, loss=float("nan"))
    run.evaluate(2, **{HOSTILE: 0.5})
    run.incident(1, 3, reason=HOSTILE, closes_at=6)
    feed(TableSink(CsvStore(tmp_path)), run)
    assert [(row["step"], row["loss"], row["rung"]) for row in read(tmp_path, "steps")] == [
        ("0", "nan", ""),
        ("1", "nan", ""),
    ]
    (evaluation,) = read(tmp_path, "evaluations")
    assert (evaluation["metric"], evaluation["value"]) == (HOSTILE, "0.5")
    (incident,) = read(tmp_path, "incidents")
    assert [*incident] == [*COLUMNS["incidents"]]


def test_a_run_that_has_just_begun_has_empty_tables(tmp_path: Path) -> None:
    CsvStore(tmp_path / "new").open({})
    assert [read(tmp_path / "new", name) for name in COLUMNS] == [[], [], []]


@pytest.mark.parametrize("flushed", [True, False])
def test_what_was_written_after_the_last_flush_is_not_there_twice(tmp_path: Path, flushed: bool) -> None:
    """A process that is killed has written more than it could keep a place of."""
    run = WrittenRun(tmp_path / "run")
    run.start()
    run.steps(0, 1)
    sink = TableSink(CsvStore(tmp_path))
    sink.open({})
    tail = Tail(run.layout, {})
    kept = feed_on(sink, tail)
    run.steps(2)
    for event, void, _ in tail.read():
        sink.tell(event, void=void)
    if flushed:
        sink.flush()
    with (tmp_path / "steps.csv").open("a") as file:
        file.write("3,3,torn")
    feed(TableSink(CsvStore(tmp_path)), run, kept)
    assert [row["step"] for row in read(tmp_path, "steps")] == ["0", "1", "2"]


def test_a_resume_takes_rows_back(tmp_path: Path) -> None:
    run = WrittenRun(tmp_path / "run")
    run.start()
    run.steps(0, 1, 2, 3)
    run.evaluate(3, mse=1.0)
    sink = TableSink(CsvStore(tmp_path))
    sink.open({})
    tail = Tail(run.layout, {})
    feed_on(sink, tail)
    run.steps(4)
    run.resume(2)
    run.steps(2, loss=0.125)
    feed_on(sink, tail)
    assert [(row["step"], row["loss"]) for row in read(tmp_path, "steps")] == [
        ("0", "0.5"),
        ("1", "0.5"),
        ("2", "0.125"),
    ]
    assert read(tmp_path, "evaluations") == []


def test_a_file_of_another_run_is_begun_anew(tmp_path: Path) -> None:
    (tmp_path / "steps.csv").write_text("step\n1\n")
    CsvStore(tmp_path).open({})
    assert read(tmp_path, "steps") == []
