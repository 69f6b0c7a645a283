"""The rows of the tables, whatever keeps them."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.written_run import WrittenRun, feed, feed_on

from supervisor.events import schema
from supervisor.sinks import incidents
from supervisor.sinks.base import Memory
from supervisor.sinks.tables import COLUMNS, GROWING, UPDATE, Row, TableSink
from supervisor.sinks.tail import Tail


class Lists:
    """Keeps rows in memory."""

    def __init__(self) -> None:
        self.tables: dict[str, list[Row]] = {name: [] for name in COLUMNS}

    def open(self, memory: Memory) -> None: ...

    def append(self, table: str, row: Row) -> None:
        self.tables[table].append(row)

    def take_back(self, update: int) -> None:
        for name in GROWING:
            self.tables[name] = [row for row in self.tables[name] if row[UPDATE] is None or int(row[UPDATE]) < update]

    def replace(self, table: str, rows: list[Row]) -> None:
        self.tables[table] = rows

    def flush(self) -> Memory:
        return {}

    def close(self) -> None: ...


def test_a_row_has_a_cell_for_each_column_of_its_type(tmp_path: Path) -> None:
    run = WrittenRun(tmp_path)
    run.start()
    run.steps(0, 1)
    run.evaluate(2, mse=0.5, mae=0.25)
    run.incident(1, 3, closes_at=6)
    run.incident(2, 9, reason="no more")
    run.log.emit(schema.RunHaltedEvent(step=9, update=9, reason="the ladder ended"))
    store = Lists()
    feed(TableSink(store), run)
    for name, rows in store.tables.items():
        assert len(rows) == 2
        for row in rows:
            assert len(row) == len(COLUMNS[name])
            for cell, kind in zip(row, COLUMNS[name].values(), strict=True):
                assert cell is None or isinstance(cell, kind), (name, row)
    assert [*COLUMNS["steps"]][UPDATE] == [*COLUMNS["evaluations"]][UPDATE] == "update"
    first, second = (dict(zip(COLUMNS["incidents"], row, strict=True)) for row in store.tables["incidents"])
    assert (first["outcome"], first["cured_by"], first["steps_lost"]) == ("recovered", "skip_batch", 1)
    assert (second["outcome"], second["reason"]) == ("halted", "the ladder ended")


def test_what_a_resume_takes_back_is_dropped(tmp_path: Path) -> None:
    run = WrittenRun(tmp_path)
    run.start()
    run.steps(0, 1, 2)
    run.incident(1, 3)
    store = Lists()
    sink = TableSink(store)
    sink.open({})
    tail = Tail(run.layout, {})
    feed_on(sink, tail)
    assert (len(store.tables["steps"]), len(store.tables["incidents"])) == (3, 1)
    run.resume(2)
    feed_on(sink, tail)
    assert ([row[0] for row in store.tables["steps"]], store.tables["incidents"]) == ([0, 1], [])


def test_of_a_run_with_very_many_incidents_all_have_a_row_that_a_resume_can_take_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(incidents, "MOST_KEPT", 2)
    run = WrittenRun(tmp_path)
    run.start()
    for number in range(1, 7):
        run.incident(number, 10 * number, closes_at=10 * number + 5)
    store = Lists()
    kept = feed(TableSink(store), run)
    assert [row[0] for row in store.tables["incidents"]] == [1, 2, 3, 4, 5, 6]
    run.resume(20)
    feed(TableSink(store), run, kept)
    assert [row[0] for row in store.tables["incidents"]] == [1]
