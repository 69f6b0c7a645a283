"""A run watched from outside, on a terminal or in a pipe."""

from __future__ import annotations

import io
import os
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from support.terminal import Terminal

from supervisor.errors import InputError
from supervisor.live.watching import tell_run, watch_run
from supervisor.testing.clock import FakeClock


@pytest.fixture
def told() -> io.StringIO:
    return io.StringIO()


def test_in_a_pipe_the_whole_story_is_told_in_lines_until_it_has_ended(written: Any, told: io.StringIO) -> None:
    written.begin()
    written.step(11, 19, loss=3.0)
    written.flag(12, 30, 1)

    def go_on(_: float) -> None:
        written.step(21, 39, loss=2.0)
        written.close(21, 40, 1)
        written.finish(31)

    tell_run(written.layout.root, Console(file=told, width=80), FakeClock(on_sleep=go_on))
    lines = told.getvalue().splitlines()
    assert lines[:6] == [
        "run r started: steps 100, trainer mine:Tiny, device cpu",
        "step 20/100  20%  loss 3  grad 2  lr 0.005 (cut)",
        "step 30  nonfinite_loss  → skipped",
        "step 40/100  40%  loss 2  grad 2  lr 0.005 (cut)  2 steps/s  30 s left",
        "finished after 100 steps, 1 incident",
        "Finished",
    ]
    assert any(line.startswith("final loss") for line in lines)


def test_a_worker_that_begins_anew_is_followed(written: Any, told: io.StringIO) -> None:
    """Its predecessor died before its first checkpoint, and the file was begun again."""
    written.begin()
    written.step(2, 5)

    def go_on(_: float) -> None:
        written.die(3)
        written.layout.rank_events.unlink()
        written.begin()
        for step in range(10):
            written.step(4 + step, step)
        written.finish(31)

    tell_run(written.layout.root, Console(file=told, width=200), FakeClock(on_sleep=go_on))
    lines = told.getvalue().splitlines()
    assert sum(line.startswith("run r started") for line in lines) == 2
    assert sum(line.startswith("step ") for line in lines) == 11


def test_on_a_terminal_it_is_drawn_until_it_has_ended(written: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    written.begin()
    written.step(11, 19)
    seen: list[list[str]] = []
    monkeypatch.setenv("TERM", "xterm")
    before = signal.getsignal(signal.SIGCONT)
    with Terminal() as terminal, open(terminal.descriptor, "w", closefd=False) as stream:

        def go_on(_: float) -> None:
            seen.append(terminal.rows)
            written.finish(31)

        monkeypatch.setattr(sys, "stdout", stream)
        watch_run(written.layout.root, FakeClock(on_sleep=go_on))
        rows = terminal.rows
        assert terminal.cursor == (len(rows), 0, True)
    assert any(row.startswith("● running") for row in seen[0])
    assert len(seen) == 1
    assert rows[1] == "finished after 100 steps, 1 incident"
    assert any(row.startswith("● finished") for row in rows)
    assert signal.getsignal(signal.SIGCONT) is before


def test_where_there_is_no_run_it_is_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such run directory"):
        watch_run(tmp_path / "none")
    with pytest.raises(InputError, match="not a run directory, it has no events/"):
        watch_run(tmp_path)


def test_on_a_terminal_too_a_run_whose_folder_is_removed_is_one_no_more(
    written: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    written.begin()
    with Terminal(100, 30) as terminal, open(terminal.descriptor, "w", closefd=False, encoding="utf-8") as stdout:
        monkeypatch.setattr(sys, "stdout", stdout)
        monkeypatch.setenv("TERM", "xterm")
        clock = FakeClock(on_sleep=lambda _: shutil.rmtree(written.layout.root))
        with pytest.raises(InputError, match="no such run directory"):
            watch_run(written.layout.root, clock)


def test_it_ends_with_its_reader_though_nothing_comes(written: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    written.begin()
    read_end, write_end = os.pipe()
    with os.fdopen(write_end, "w", encoding="utf-8") as stdout:
        monkeypatch.setattr(sys, "stdout", stdout)
        clock = FakeClock(on_sleep=lambda _: os.close(read_end))
        watch_run(written.layout.root, clock)
    assert len(clock.sleeps) == 1


def test_it_ends_with_its_reader_though_much_comes(written: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    written.begin()
    for step in range(100):
        written.step(11 + step, step)
    read_end, write_end = os.pipe()
    os.close(read_end)
    with os.fdopen(write_end, "w", encoding="utf-8", buffering=1) as stdout:
        monkeypatch.setattr(sys, "stdout", stdout)
        clock = FakeClock()
        watch_run(written.layout.root, clock)
    assert clock.sleeps == []
