"""One file: read on from where it stopped, whole lines only, and rows of `step` events in one."""

from __future__ import annotations

from pathlib import Path
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from supervisor.errors import InputError
from supervisor.events import event_file
from supervisor.events.event_file import EventFile
from supervisor.events.schema import Event, RunResumedEvent, StepEvent, WarningEvent
from supervisor.events.writer import EventLog
from supervisor.testing.clock import FakeClock


@pytest.fixture
def log(tmp_path: Path) -> EventLog:
    return EventLog(tmp_path / "rank0.jsonl", "r", 0, FakeClock())


def file_of(log: EventLog, *, with_void: bool = False) -> EventFile:
    assert log.path is not None
    return EventFile(log.path, with_void=with_void)


def note_at(update: int) -> WarningEvent:
    return WarningEvent(message=f"at {update}", update=update)


def told_by(file: EventFile) -> list[str]:
    def text(event: Event) -> str:
        return event.message if isinstance(event, WarningEvent) else event.event

    return [text(event) for event in file.events()]


def test_a_second_reading_goes_on_where_the_first_stopped(log: EventLog):
    log.emit(note_at(1))
    file = file_of(log)
    assert told_by(file) == ["at 1"]
    assert told_by(file) == []
    log.emit(note_at(2))
    assert told_by(file) == ["at 2"]
    assert file.line == 2
    assert file.offset == file.path.stat().st_size


def test_a_line_that_is_being_written_is_read_when_it_is_whole(log: EventLog):
    log.emit(note_at(1))
    file = file_of(log)
    whole = file.path.read_bytes()
    file.path.write_bytes(whole + whole[:20])
    assert told_by(file) == ["at 1"]
    file.path.write_bytes(whole * 2)
    assert told_by(file) == ["at 1"]


def test_what_a_resume_made_void_is_given_only_when_asked_for(log: EventLog):
    for event in (note_at(4), note_at(5), RunResumedEvent(checkpoint_step=5, update=5), note_at(5)):
        log.emit(event)
    assert told_by(file_of(log)) == ["at 4", "run_resumed", "at 5"]
    assert told_by(file_of(log, with_void=True)) == ["at 4", "at 5", "run_resumed", "at 5"]


def test_a_line_that_is_no_event_is_named_where_another_follows(log: EventLog):
    log.emit(note_at(1))
    file = file_of(log)
    whole = file.path.read_bytes()
    file.path.write_bytes(whole + b'{"event":"warning"}\n')
    assert told_by(file) == ["at 1"]
    file.path.write_bytes(whole + b'{"event":"warning"}\n' + whole)
    with pytest.raises(InputError, match=r"rank0\.jsonl:2: not an event: message: .*: restore or delete it"):
        told_by(file)


def step_at(update: int) -> StepEvent:
    values = dict.fromkeys(("loss", "grad_norm", "lr", "lr_scale", "step_seconds"), 1.0)
    return StepEvent(step=update, update=update, **values)


def marked_by(log: EventLog) -> list[tuple[str, bool]]:
    assert log.path is not None
    file = EventFile(log.path, with_void=True, sparse=True)
    found = [(str(event.update) if event.event == "step" else event.event, void) for event, void in file.marked()]
    assert (file.line, file.offset) == (log.path.read_bytes().count(b"\n"), log.path.stat().st_size)
    assert [*file.marked()] == []
    return found


def test_of_steps_in_a_row_the_last_is_given(log: EventLog):
    for event in (step_at(1), step_at(2), note_at(2), step_at(3), step_at(4), step_at(5)):
        log.emit(event)
    assert marked_by(log) == [("2", False), ("warning", False), ("5", False)]


@pytest.mark.parametrize(
    ("resumed_at", "given"),
    [
        (9, [("5", False)]),
        (5, [("4", False), ("5", True)]),
        (2, [("1", False), ("5", True)]),
        (1, [("5", True)]),
    ],
)
def test_of_a_row_that_a_resume_has_cut_the_last_that_counts_comes_first(
    log: EventLog, resumed_at: int, given: list[tuple[str, bool]]
):
    for update in range(1, 6):
        log.emit(step_at(update))
    log.emit(RunResumedEvent(checkpoint_step=resumed_at, update=resumed_at))
    log.emit(step_at(7))
    log.emit(step_at(8))
    assert marked_by(log) == [*given, ("run_resumed", False), ("8", False)]


@given(
    st.lists(st.integers(1, 12) | st.tuples(st.integers(0, 12)) | st.none(), max_size=25),
    st.integers(1, 400),
)
@settings(max_examples=60)
def test_what_counts_is_the_same_whether_rows_are_given_whole_or_not(
    tmp_path_factory: pytest.TempPathFactory, told: list[int | tuple[int] | None], block_bytes: int
):
    """Numbers: that many steps in a row. In brackets: a resume from there. None: something else."""
    log, update = EventLog(tmp_path_factory.mktemp("rows") / "rank0.jsonl", "r", 0, FakeClock()), 0
    for each in told:
        if isinstance(each, int):
            for _ in range(each):
                log.emit(step_at(update))
                update += 1
        elif each is None:
            log.emit(note_at(update))
        else:
            update = min(update, each[0])
            log.emit(RunResumedEvent(checkpoint_step=update, update=update))
    if not told:
        return
    assert log.path is not None
    with mock.patch.object(event_file, "_BLOCK_BYTES", block_bytes):
        whole = [*EventFile(log.path, with_void=True).marked()]
        sparse = [*EventFile(log.path, with_void=True, sparse=True).marked()]

    def last_of_rows(marked: list[tuple[Event, bool]]) -> list[tuple[Event, bool]]:
        return [
            pair
            for index, pair in enumerate(marked)
            if pair[0].event != "step" or index + 1 == len(marked) or marked[index + 1][0].event != "step"
        ]

    assert [pair for pair in sparse if pair in whole] == sparse
    assert last_of_rows(sparse) == last_of_rows(whole)
    counting = [pair for pair in whole if not pair[1]]
    assert last_of_rows([pair for pair in sparse if not pair[1]]) == last_of_rows(counting)


def test_a_row_whose_last_line_is_torn_ends_before_it(log: EventLog):
    for update in (1, 2):
        log.emit(step_at(update))
    assert log.path is not None
    with log.path.open("ab") as file:
        file.write(b'{"schema":1,"event":"step",' + b"\0" * 9 + b"\n")
    found = [event.update for event, _ in EventFile(log.path, sparse=True).marked()]
    assert found == [2]


def test_only_lines_of_the_name_are_looked_into(log: EventLog):
    for event in (note_at(1), step_at(2), note_at(3)):
        log.emit(event)
    assert log.path is not None
    with log.path.open("a") as file:
        file.write("damaged, but of another name\n")
    log.emit(note_at(4))
    found = [event.update for event, _ in EventFile(log.path, named="warning").marked()]
    assert found == [1, 3, 4]
