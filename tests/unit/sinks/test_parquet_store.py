"""Tables as Parquet, read by pyarrow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pytest
from support.written_run import HOSTILE, WrittenRun, feed, feed_on

from supervisor.sinks import parquet_store
from supervisor.sinks.parquet_store import ParquetStore
from supervisor.sinks.tables import COLUMNS, TableSink
from supervisor.sinks.tail import Tail


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a few rows fill several."""
    monkeypatch.setattr(parquet_store, "PART_ROWS", 3)


def read(path: Path) -> dict[str, list[Any]]:
    return dict(ds.dataset(path, format="parquet").to_table().to_pydict())


def test_all_tables_are_there_with_their_columns(tmp_path: Path) -> None:
    run = WrittenRun(tmp_path / "run")
    run.start()
    run.steps(*range(7), loss=float("inf"))
    run.evaluate(7, **{HOSTILE: 0.5})
    run.incident(1, 8, reason=HOSTILE, closes_at=9)
    feed(TableSink(ParquetStore(tmp_path)), run)
    assert len([*(tmp_path / "steps").iterdir()]) == 3
    steps = read(tmp_path / "steps")
    assert (steps["step"], steps["loss"][0], steps["rung"][0]) == ([*range(7)], float("inf"), None)
    assert read(tmp_path / "evaluations")["metric"] == [HOSTILE]
    incidents = read(tmp_path / "incidents.parquet")
    assert [*incidents] == [*COLUMNS["incidents"]]
    assert incidents["cured_by"] == ["skip_batch"]
    assert ds.dataset(tmp_path / "steps").schema.field("update").type == pa.int64()


@pytest.mark.parametrize("more", [1, 2, 5])
def test_what_was_written_after_the_last_flush_is_not_there_twice(tmp_path: Path, more: int) -> None:
    run = WrittenRun(tmp_path / "run")
    run.start()
    run.steps(*range(4))
    sink = TableSink(ParquetStore(tmp_path))
    sink.open({})
    tail = Tail(run.layout, {})
    kept = feed_on(sink, tail)
    run.steps(*range(4, 4 + more))
    feed_on(sink, tail)
    feed(TableSink(ParquetStore(tmp_path)), run, kept)
    assert read(tmp_path / "steps")["step"] == [*range(4 + more)]


@pytest.mark.parametrize("update", [0, 2, 3, 7])
def test_a_resume_takes_rows_back_from_as_many_parts_as_it_goes_over(tmp_path: Path, update: int) -> None:
    run = WrittenRun(tmp_path / "run")
    run.start()
    run.steps(*range(8))
    sink = TableSink(ParquetStore(tmp_path))
    sink.open({})
    tail = Tail(run.layout, {})
    feed_on(sink, tail)
    run.resume(update)
    run.steps(update, loss=0.125)
    feed_on(sink, tail)
    steps = read(tmp_path / "steps")
    assert (steps["step"], steps["loss"][-1]) == ([*range(update + 1)], 0.125)


def test_a_folder_of_another_run_is_begun_anew(tmp_path: Path) -> None:
    run = WrittenRun(tmp_path / "run")
    run.start()
    run.steps(*range(8))
    feed(TableSink(ParquetStore(tmp_path)), run)
    store = ParquetStore(tmp_path)
    store.open({})
    store.flush()
    assert read(tmp_path / "steps")["step"] == []
