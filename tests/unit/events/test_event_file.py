"""One event file: whole lines only, from where the reader stopped, and none that a resume made void."""

from __future__ import annotations

from pathlib import Path

import pytest

from supervisor.errors import InputError
from supervisor.events.event_file import EventFile
from supervisor.events.schema import Event, RunResumedEvent, WarningEvent
from supervisor.events.writer import EventLog
from supervisor.testing.clock import FakeClock


@pytest.fixture
def log(tmp_path: Path) -> EventLog:
    return EventLog(tmp_path / "rank0.jsonl", "r", 0, FakeClock())


def file_of(log: EventLog, *, with_void: bool = False) -> EventFile:
    assert log.path is not None
    return EventFile(log.path, with_void=with_void)


def note(update: int) -> WarningEvent:
    return WarningEvent(message=f"at {update}", update=update)


def told(file: EventFile) -> list[str]:
    def text(event: Event) -> str:
        return event.message if isinstance(event, WarningEvent) else event.event

    return [text(event) for event in file.events()]


def test_a_second_reading_goes_on_where_the_first_stopped(log: EventLog):
    log.emit(note(1))
    file = file_of(log)
    assert told(file) == ["at 1"]
    assert told(file) == []
    log.emit(note(2))
    assert told(file) == ["at 2"]
    assert file.line == 2
    assert file.offset == file.path.stat().st_size


def test_a_line_that_is_being_written_is_read_when_it_is_whole(log: EventLog):
    log.emit(note(1))
    file = file_of(log)
    whole = file.path.read_bytes()
    file.path.write_bytes(whole + whole[:20])
    assert told(file) == ["at 1"]
    file.path.write_bytes(whole * 2)
    assert told(file) == ["at 1"]


def test_what_a_resume_made_void_is_given_only_when_asked_for(log: EventLog):
    for event in (note(4), note(5), RunResumedEvent(checkpoint_step=5, update=5), note(5)):
        log.emit(event)
    assert told(file_of(log)) == ["at 4", "run_resumed", "at 5"]
    assert told(file_of(log, with_void=True)) == ["at 4", "at 5", "run_resumed", "at 5"]


def test_a_line_that_is_no_event_is_named_where_another_follows(log: EventLog):
    log.emit(note(1))
    file = file_of(log)
    whole = file.path.read_bytes()
    file.path.write_bytes(whole + b'{"event":"warning"}\n')
    assert told(file) == ["at 1"]
    file.path.write_bytes(whole + b'{"event":"warning"}\n' + whole)
    with pytest.raises(InputError, match=r"rank0\.jsonl:2: not an event: message: .*: restore or delete it"):
        told(file)
