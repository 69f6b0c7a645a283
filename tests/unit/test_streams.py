"""The standard streams when they are closed, replaced, narrow or without a reader: real processes, real descriptors."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from supervisor.streams import SteadyStream, reader_has_left, tell

READY = "import os, sys; from supervisor.streams import leave_streams, ready_streams, tell; ready_streams(); "


def python(script: str, redirections: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    command = f'exec "$0" -c "$1" {redirections}'
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **environment}
    return subprocess.run(
        ["/bin/sh", "-c", command, sys.executable, script], capture_output=True, text=True, check=False, env=env
    )


@pytest.mark.parametrize("closed", [">&-", "<&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_with_closed_descriptors_nothing_is_raised_and_no_file_gets_their_number(closed: str, tmp_path: Path) -> None:
    log = tmp_path / "log"
    script = READY + (
        f"file = open({str(log)!r}, 'w'); assert file.fileno() > 2, file.fileno();"
        "print('printed'); tell('told'); os.system('echo by a child'); file.write('the log'); file.close();"
        "sys.stdout.flush()"
    )
    done = python(script, closed)
    assert done.returncode == 0, done.stderr
    assert log.read_text() == "the log"


def test_an_encoding_that_lacks_a_character_raises_nothing() -> None:
    done = python(READY + "print('a \\u00d7 \\udcff'); tell('b \\u2192 \\u00d7')", PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stdout, done.stderr) == (0, "a \\xd7 \\udcff\n", "b -> x\n")


def test_a_reader_that_has_gone_is_no_failure_at_the_end_either() -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    script = READY + "tell('one', 'stdout'); tell('two', 'stdout'); sys.stderr.write('went on')"
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", script], stdout=write_end, stderr=subprocess.PIPE, text=True, check=False, env=env
    )
    os.close(write_end)
    assert (done.returncode, done.stderr) == (0, "went on")


class Tee:
    """As a trainer writes it: what it is given goes into a list."""

    def __init__(self) -> None:
        self.taken: list[str] = []

    def write(self, text: str) -> None:
        self.taken.append(text)


class Raising:
    def write(self, text: str) -> None:
        raise RuntimeError("no such window")

    flush = isatty = fileno = write


def test_an_object_with_a_write_and_nothing_else_is_enough() -> None:
    tee = Tee()
    stream = SteadyStream(tee, "stdout")
    stream.write("a → b\udcff")
    stream.flush()
    assert tee.taken == ["a → b\\udcff"]
    assert (stream.isatty(), stream.encoding) == (False, "utf-8")
    with pytest.raises(io.UnsupportedOperation):
        stream.fileno()


def test_where_an_object_cannot_take_it_the_stream_of_the_process_does(monkeypatch: pytest.MonkeyPatch) -> None:
    own = io.StringIO()
    monkeypatch.setattr(sys, "__stderr__", own)
    monkeypatch.setattr(sys, "stderr", Raising())
    tell("the run went on\x1b[2J")
    assert own.getvalue() == "the run went on\\x1b[2J\n"


@pytest.mark.parametrize("stream", [None, Raising(), object()], ids=["none", "raises", "no file"])
def test_where_nothing_can_take_it_it_is_lost(stream: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "__stdout__", None)
    steady = SteadyStream(stream, "stdout")
    steady.write("lost")
    steady.flush()
    assert (steady.isatty(), steady.encoding) == (False, "utf-8")


@pytest.mark.parametrize(
    ("script", "redirections"),
    [
        ("Tee = type('Tee', (), {'write': lambda self, text: None}); sys.stdout = sys.stderr = Tee(); print('x');", ""),
        ("print('x');", ">/dev/full"),
        ("sys.stderr.write('x'); print('x');", ">/dev/full 2>/dev/full"),
        ("sys.stdout.close(); sys.stderr.close();", ""),
        ("print('x');", ">&- 2>&-"),
        ("sys.stdout = sys.stderr = None;", ""),
    ],
    ids=["no flush", "a full disk", "two full disks", "closed", "closed descriptors", "none"],
)
def test_what_is_left_in_the_streams_does_not_change_the_exit_code(script: str, redirections: str) -> None:
    done = python(f"{READY}{script} leave_streams(); sys.exit(7)", redirections, PYTHONUNBUFFERED="")
    assert (done.returncode, done.stderr) == (7, "")


def test_that_a_reader_has_left_is_known_before_anything_is_written() -> None:
    read_end, write_end = os.pipe()
    with os.fdopen(write_end, "w", encoding="utf-8") as pipe:
        assert not reader_has_left(pipe)
        os.close(read_end)
        assert reader_has_left(pipe)
    assert not reader_has_left(io.StringIO())


def test_it_is_known_after_the_pipe_was_given_up_too() -> None:
    read_end, write_end = os.pipe()
    with os.fdopen(write_end, "w", encoding="utf-8", buffering=1) as pipe:
        stream = SteadyStream(pipe, "stdout")
        os.close(read_end)
        stream.write("a line\n")
        assert not reader_has_left(pipe)
        assert stream.reader_left
