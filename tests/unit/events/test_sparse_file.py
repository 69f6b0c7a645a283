"""Rows of `step` events are given in one line, and the same counts as in the whole reading."""

from __future__ import annotations

import json
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from supervisor.errors import InputError
from supervisor.events import sparse_file
from supervisor.events.event_file import EventFile
from supervisor.events.schema import Event, RunResumedEvent, StepEvent, WarningEvent
from supervisor.events.sparse_file import SparseFile
from supervisor.events.writer import EventLog
from supervisor.testing.clock import FakeClock


@pytest.fixture
def log(tmp_path: Path) -> EventLog:
    return EventLog(tmp_path / "rank0.jsonl", "r", 0, FakeClock())


def note_at(update: int) -> WarningEvent:
    return WarningEvent(message=f"at {update}", update=update)


def step_at(update: int) -> StepEvent:
    values = dict.fromkeys(("loss", "grad_norm", "lr", "lr_scale", "step_seconds"), 1.0)
    return StepEvent(step=update, update=update, **values)


def marked_by(log: EventLog) -> list[tuple[str, bool]]:
    assert log.path is not None
    file = SparseFile(log.path)
    found = [(str(event.update) if event.event == "step" else event.event, void) for event, void in file.marked()]
    assert file.offset == log.path.stat().st_size
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
    st.integers(1, 400),
)
@settings(max_examples=60)
def test_what_counts_is_the_same_whether_rows_are_given_whole_or_not(
    tmp_path_factory: pytest.TempPathFactory, told: list[int | tuple[int] | None], block_bytes: int, line_bytes: int
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
    whole = [*EventFile(log.path, with_void=True).marked()]
    with mock.patch.multiple(sparse_file, _BLOCK_BYTES=block_bytes, _LINE_BYTES=line_bytes):
        sparse = [*SparseFile(log.path).marked()]

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


TORN = b'{"schema":1,"event":"step",' + b"\0" * 9 + b"\n"


def write(log: EventLog, text: bytes) -> None:
    assert log.path is not None
    with log.path.open("ab") as file:
        file.write(text)


def test_a_row_whose_last_line_is_torn_ends_before_it(log: EventLog):
    for update in (1, 2):
        log.emit(step_at(update))
    write(log, TORN)
    assert log.path is not None
    file = SparseFile(log.path)
    assert [event.update for event, _ in file.marked()] == [2]
    # It is read again once it is whole.
    log.path.write_bytes(log.path.read_bytes().removesuffix(TORN))
    log.close()
    log.emit(step_at(3))
    assert [event.update for event, _ in file.marked()] == [3]


@pytest.mark.parametrize("torn", [TORN, b'{"schema":1,"event":"warning"}\n', b'{"schema":1,"ev'])
def test_a_torn_line_alone_is_nothing_yet(log: EventLog, torn: bytes):
    write(log, torn)
    assert log.path is not None
    assert [*SparseFile(log.path).marked()] == []


def test_a_line_that_is_no_event_is_named_where_another_follows(log: EventLog):
    log.emit(step_at(1))
    log.emit(step_at(2))
    write(log, b'{"event":"warning"}\n')
    log.close()
    log.emit(step_at(3))
    assert log.path is not None
    whole = log.path.read_bytes()
    log.path.write_bytes(whole + b'{"event":"warning"}\n' + whole)
    with pytest.raises(InputError, match=r"rank0\.jsonl:\d: not an event: message: .*: restore or delete it"):
        [*SparseFile(log.path).marked()]


def test_lines_that_others_have_written_are_known_too(log: EventLog):
    for event in (step_at(1), step_at(2), note_at(2), step_at(3)):
        log.emit(event)
    assert log.path is not None
    told = [json.loads(line) for line in log.path.read_text().splitlines()]
    log.path.write_text("".join(json.dumps(dict(reversed(each.items()))) + "\n" for each in told))
    assert marked_by(log) == [("2", False), ("warning", False), ("3", False)]


def test_a_log_that_grows_is_read_on(log: EventLog):
    log.emit(step_at(1))
    assert log.path is not None
    file = SparseFile(log.path)
    assert [event.update for event, _ in file.marked()] == [1]
    assert [*file.marked()] == []
    log.emit(step_at(2))
    log.emit(step_at(3))
    assert [event.update for event, _ in file.marked()] == [3]


def test_of_a_long_row_few_lines_are_understood(log: EventLog):
    for update in range(2000):
        log.emit(step_at(update))
    log.emit(RunResumedEvent(checkpoint_step=1000, update=1000))
    assert log.path is not None
    with mock.patch.object(sparse_file, "parse_event", wraps=sparse_file.parse_event) as parsed:
        found = [(event.update, void) for event, void in SparseFile(log.path).marked()]
    assert found == [(999, False), (1999, True), (1000, False)]
    assert parsed.call_count < 20
