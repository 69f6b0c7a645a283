"""One file: read on from where it stopped, and whole lines only."""

from __future__ import annotations

from pathlib import Path

import pytest

from supervisor.errors import InputError
from supervisor.events.event_file import EventFile, head_of
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


def test_a_line_of_another_schema_is_said_to_be_of_another_version(log: EventLog):
    log.emit(note_at(1))
    file = file_of(log)
    whole = file.path.read_bytes()
    file.path.write_bytes(whole.replace(b'"schema":1', b'"schema":2') + whole)
    with pytest.raises(InputError, match=r"rank0\.jsonl:1: an event of schema 2, and this version reads schema 1"):
        told_by(file)


def step_at(update: int) -> StepEvent:
    values = dict.fromkeys(("loss", "grad_norm", "lr", "lr_scale", "step_seconds"), 1.0)
    return StepEvent(step=update, update=update, **values)


def test_only_lines_of_the_name_are_looked_into(log: EventLog):
    for event in (note_at(1), step_at(2), note_at(3)):
        log.emit(event)
    assert log.path is not None
    with log.path.open("a") as file:
        file.write("damaged, but of another name\n")
    log.emit(note_at(4))
    found = [event.update for event, _ in EventFile(log.path, named="warning").marked()]
    assert found == [1, 3, 4]


def test_a_file_is_known_by_its_first_line(log: EventLog, tmp_path: Path):
    """What follows may be torn and cut off; another file of the same name was begun at another time."""
    assert head_of(tmp_path / "none") == b""
    log.emit(note_at(1))
    assert log.path is not None
    before = head_of(log.path)
    log.emit(note_at(2))
    with log.path.open("a") as file:
        file.write('{"torn')
    assert head_of(log.path) == before
    log.path.write_text(log.path.read_text().replace("2026", "2027"))
    assert head_of(log.path) != before
