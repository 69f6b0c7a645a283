"""The log: one call, several sinks; whole lines only, whatever the disk does."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import textwrap
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from supervisor.errors import InputError
from supervisor.events import line_file
from supervisor.events.owner_file import monotonic_since
from supervisor.events.schema import (
    CheckpointPromotedEvent,
    CheckpointSavedEvent,
    Event,
    IncidentOpenedEvent,
    KnownEvent,
    RunFinishedEvent,
    RunHaltedEvent,
    RunStartedEvent,
    RunStatus,
    RunSummary,
    SignalEvent,
    WarningEvent,
    parse_event,
)
from supervisor.events.writer import EventLog
from supervisor.records import SignalName
from supervisor.testing.clock import FakeClock


def messages(path: Path) -> list[str]:
    text = path.read_text()
    assert text == "" or text.endswith("\n")
    return [json.loads(line)["message"] for line in text.splitlines()]


def test_one_call_reaches_the_file_and_every_listener_with_the_stamps(tmp_path: Path):
    first: list[Event] = []
    second: list[Event] = []
    path = tmp_path / "events" / "rank0.jsonl"
    clock = FakeClock(datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC))

    with EventLog(path, "run-1", 0, clock, listeners=[first.append, second.append]) as log:
        log.emit(WarningEvent(step=7, update=9, message="hé\nho"))

        # Flushed at once: readable while the log is open.
        line = json.loads(path.read_text())

    assert line == {
        "schema": 1,
        "time": "2026-05-04T03:02:01.000000Z",
        "event": "warning",
        "run_id": "run-1",
        "rank": 0,
        "step": 7,
        "update": 9,
        "message": "hé\nho",
        "traceback": None,
        "monotonic": 0.0,
        "boot": monotonic_since(),
    }
    assert first == second
    assert json.loads(first[0].model_dump_json(by_alias=True)) == line


def test_without_a_path_listeners_hear_and_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    heard: list[Event] = []

    log = EventLog(None, "r", None, FakeClock(), listeners=[heard.append])
    log.emit(WarningEvent(message="a"))

    assert [event.event for event in heard] == ["warning"]
    assert list(tmp_path.iterdir()) == []


def test_a_misspelt_field_is_refused_but_a_signal_may_have_details(tmp_path: Path):
    log = EventLog(tmp_path / "a.jsonl", "r", 0, FakeClock())

    with pytest.raises(TypeError, match="WarningEvent has no field mesage"):
        log.emit(WarningEvent.model_validate({"message": "a", "mesage": "b"}))
    log.emit(SignalEvent.model_validate({"signal": SignalName.LOSS_SPIKE, "z": 9.5}))

    assert json.loads((tmp_path / "a.jsonl").read_text())["z"] == 9.5


SUMMARY = RunSummary(status=RunStatus.FINISHED, steps=1, applied_steps=1)


@pytest.mark.parametrize(
    ("event", "durable"),
    [
        (IncidentOpenedEvent(incident=1), True),
        (CheckpointSavedEvent(checkpoint_step=1, path="p"), True),
        (CheckpointPromotedEvent(checkpoint_step=1, path="p"), True),
        (RunHaltedEvent(reason="r"), True),
        (RunFinishedEvent(status=RunStatus.FINISHED, summary=SUMMARY), True),
        (WarningEvent(message="a"), False),
    ],
    ids=lambda value: getattr(value, "event", value),
)
def test_what_must_survive_a_power_cut_is_synced_after_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, event: KnownEvent, durable: bool
):
    path = tmp_path / "rank0.jsonl"
    log = EventLog(path, "r", 0, FakeClock())
    synced: list[bytes] = []
    monkeypatch.setattr(line_file.os, "fsync", lambda descriptor: synced.append(path.read_bytes()))

    log.emit(event)

    assert synced == ([path.read_bytes()] if durable else [])


def test_a_full_disk_is_said_once_and_stops_nothing(capsys: pytest.CaptureFixture[str]):
    heard: list[Any] = []
    log = EventLog(Path("/dev/full"), "r", 0, FakeClock(), listeners=[heard.append])

    log.emit(WarningEvent(message="a"))
    log.emit(WarningEvent(message="b"))

    problem = "/dev/full: cannot write events (No space left on device): the run goes on"
    assert capsys.readouterr().err == f"supervisor: {problem}\n"
    assert [event.spoken for event in heard if event.message == problem] == [False]
    assert [event.message for event in heard] == [problem, "a", "b"]


def test_a_disk_that_fills_up_and_empties_leaves_whole_lines_and_a_count_of_the_missing(tmp_path: Path):
    # A limit on the size of files makes the kernel take part of a line and then refuse, as a full disk does.
    script = f"""
        import json, resource
        from pathlib import Path
        from supervisor.events.schema import WarningEvent
        from supervisor.events.writer import EventLog
        from supervisor.testing.clock import FakeClock

        path = Path({str(tmp_path / "rank0.jsonl")!r})
        log = EventLog(path, "r", 0, FakeClock())
        log.emit(WarningEvent(message="before"))
        size = path.stat().st_size
        hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 20, hard))
        log.emit(WarningEvent(message="lost 1"))
        assert path.stat().st_size == size, "part of a line stays behind"
        log.emit(WarningEvent(message="lost 2"))
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        log.emit(WarningEvent(message="after"))
        log.emit(WarningEvent(message="end"))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )

    assert done.returncode == 0, done.stderr
    assert done.stderr.count("cannot write events (File too large)") == 1
    assert messages(tmp_path / "rank0.jsonl") == [
        "before",
        "after",
        "up to 2 events before the last are missing: the disk refused them",
        "end",
    ]


def test_a_place_that_can_never_be_written_is_bad_input(tmp_path: Path):
    (tmp_path / "events").write_text("a file")

    with pytest.raises(InputError, match="choose another run directory"):
        EventLog(tmp_path / "events" / "rank0.jsonl", "r", 0, FakeClock())


def test_a_listener_that_breaks_is_left_out_and_the_others_still_hear(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    heard: list[Event] = []

    def broken(event: Event) -> None:
        raise RuntimeError("no screen")

    log = EventLog(tmp_path / "a.jsonl", "r", 0, FakeClock(), listeners=[broken, heard.append])
    log.emit(WarningEvent(message="a"))
    log.emit(WarningEvent(message="b"))

    assert messages(tmp_path / "a.jsonl") == ["a", "b"]
    assert len(heard) == 2
    assert capsys.readouterr().err.count("RuntimeError: no screen") == 1


def test_a_listener_may_emit(tmp_path: Path):
    path = tmp_path / "a.jsonl"

    def echo(event: Event) -> None:
        if event.step == 1:
            log.emit(WarningEvent(message="echo"))

    log = EventLog(path, "r", 0, FakeClock(), listeners=[echo])

    log.emit(WarningEvent(step=1, message="a"))

    assert messages(path) == ["a", "echo"]


def test_an_emit_after_close_opens_the_file_again(tmp_path: Path):
    log = EventLog(tmp_path / "a.jsonl", "r", 0, FakeClock())
    log.emit(WarningEvent(message="a"))
    log.close()
    log.emit(WarningEvent(message="b"))

    assert messages(tmp_path / "a.jsonl") == ["a", "b"]


def test_a_directory_that_was_removed_is_made_again_and_what_is_lost_is_said(tmp_path: Path):
    path = tmp_path / "events" / "rank0.jsonl"
    heard: list[Any] = []
    log = EventLog(path, "r", 0, FakeClock(), listeners=[heard.append])
    log.emit(RunStartedEvent(steps=9))
    log.emit(WarningEvent(message="lost"))
    shutil.rmtree(path.parent)

    log.emit(WarningEvent(message="first"))
    log.emit(WarningEvent(message="second"))

    said = f"{path}: was removed while the run wrote to it: what it held is lost, and it is begun anew"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line.get("message", line["event"]) for line in lines] == ["run_started", "first", said, "second"]
    assert lines[0]["steps"] == 9
    assert [event.message for event in heard if event.event == "warning"] == ["lost", said, "first", "second"]


def test_another_file_in_the_place_of_the_log_is_written_to_from_then_on(tmp_path: Path):
    path = tmp_path / "rank0.jsonl"
    log = EventLog(path, "r", 0, FakeClock())
    log.emit(WarningEvent(message="a"))
    path.rename(tmp_path / "rotated")
    path.touch()

    log.emit(WarningEvent(message="b"))

    assert messages(path)[0] == "b"
    assert messages(tmp_path / "rotated") == ["a"]


def test_a_directory_that_cannot_be_made_again_ends_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    path = tmp_path / "events" / "rank0.jsonl"
    log = EventLog(path, "r", 0, FakeClock())
    log.emit(WarningEvent(message="a"))
    shutil.rmtree(path.parent)
    path.parent.write_text("a file in its place")

    log.emit(WarningEvent(message="b"))

    assert f"{path}: cannot write events" in capsys.readouterr().err
    path.parent.unlink()
    log.emit(WarningEvent(message="c"))
    assert messages(path)[0] == "c"


def test_a_text_that_utf_8_cannot_write_is_written_with_escapes(tmp_path: Path):
    path = tmp_path / "rank0.jsonl"
    log = EventLog(path, "r", 0, FakeClock())
    summary = SUMMARY.model_copy(update={"cures": ("clip \udcff",), "final_loss": float("nan")})

    log.emit(WarningEvent(message="no file row\udcff.png"))
    log.emit(RunFinishedEvent(status=RunStatus.FINISHED, summary=summary))

    warning, finished = (parse_event(line) for line in path.read_bytes().splitlines())
    assert isinstance(warning, WarningEvent)
    assert warning.message == "no file row\\udcff.png"
    assert isinstance(finished, RunFinishedEvent)
    assert finished.summary.cures == ("clip \\udcff",)
