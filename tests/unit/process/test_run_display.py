"""The live view on the terminal of the process that supervises a run."""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.terminal import Terminal

from supervisor.clock import SystemClock
from supervisor.events.schema import (
    RunFinishedEvent,
    RunStartedEvent,
    RunStatus,
    RunSummary,
    StepEvent,
    WorkerStartedEvent,
)
from supervisor.events.stderr import say
from supervisor.events.writer import EventLog
from supervisor.live.view import LiveView
from supervisor.process import run_display
from supervisor.process.run_display import RunDisplay, display_on_terminal
from supervisor.run_layout import RunLayout


@pytest.fixture
def layout(tmp_path: Path) -> RunLayout:
    return RunLayout(tmp_path / "run")


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Terminal]:
    monkeypatch.setenv("TERM", "xterm-256color")
    with Terminal(90, 24) as made:
        yield made


@contextlib.contextmanager
def shown(layout: RunLayout, terminal: Terminal) -> Iterator[RunDisplay]:
    """A run that is shown, on the standard output and error of this process."""
    with (
        open(terminal.descriptor, "w", closefd=False) as stream,
        contextlib.redirect_stdout(stream),
        contextlib.redirect_stderr(stream),
        on_terminal(layout) as display,
    ):
        yield display


@pytest.fixture
def log(layout: RunLayout) -> EventLog:
    return EventLog(layout.rank_events, "r", 0)


def on_terminal(layout: RunLayout) -> RunDisplay:
    found = display_on_terminal(layout, "runs/mine", SystemClock(), lambda: False)
    assert found is not None
    return found


def work(display: RunDisplay, program: str) -> None:
    """A worker that prints, and is gone."""
    out, err = display.worker_streams
    command = [sys.executable, "-IS", "-c", f"import os, sys\n{program}"]
    subprocess.run(command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, check=False)
    display.worker_gone()


def begin(log: EventLog) -> None:
    log.emit(RunStartedEvent(steps=100))
    log.emit(StepEvent(step=39, update=39, loss=0.5, grad_norm=1, lr=0.1, lr_scale=1, step_seconds=0.1))


def finish(log: EventLog) -> None:
    summary = RunSummary(status=RunStatus.FINISHED, steps=100, applied_steps=100, final_loss=0.25)
    log.emit(RunFinishedEvent(step=100, update=99, status=RunStatus.FINISHED, summary=summary))


def test_what_a_worker_prints_stands_above_the_view_whole_and_in_order(
    layout: RunLayout, terminal: Terminal, log: EventLog
) -> None:
    with shown(layout, terminal) as display:
        begin(log)
        terminal.until(lambda rows: any("● running" in row for row in rows))
        work(display, "for n in range(300): print('line', n, file=(sys.stdout, sys.stderr)[n % 2], flush=True)")
        work(display, "os.write(2, b'Segmentation fau'); os._exit(9)")
        terminal.until(lambda rows: any("Segmentation fau" in row for row in rows))
        finish(log)
    rows = [row for row in terminal.all_rows if row.startswith(("line", "Segm"))]
    assert rows == [*(f"line {number}" for number in range(300)), "Segmentation fau"]
    assert terminal.cursor[1:] == (0, True)


def test_at_its_end_the_last_picture_and_the_summary_stay(layout: RunLayout, terminal: Terminal, log: EventLog) -> None:
    with shown(layout, terminal):
        begin(log)
        finish(log)
    rows = terminal.all_rows
    assert rows[:2] == ["run r started: steps 100", "finished after 100 steps, 0 incidents"]
    assert sum("● finished  runs/mine" in row for row in rows) == 1
    end = rows.index("Finished")
    assert end > rows.index(next(row for row in rows if row.startswith("step ")))
    assert any(row.startswith("final loss") and "0.25" in row for row in rows[end:])


def test_of_a_run_that_never_began_nothing_but_what_was_said_stays(layout: RunLayout, terminal: Terminal) -> None:
    with shown(layout, terminal) as display, EventLog(layout.parent_events, "r", None) as parent:
        parent.emit(WorkerStartedEvent(pid=1, steps=100))
        terminal.until(lambda rows: any("● starting" in row for row in rows))
        work(display, "print('job.yaml:3: config: no such key', file=sys.stderr)")
        say("that was all")
    assert terminal.all_rows == ["job.yaml:3: config: no such key", "supervisor: that was all"]


def test_what_this_process_says_stands_above_the_view_too(layout: RunLayout, terminal: Terminal, log: EventLog) -> None:
    with shown(layout, terminal):
        begin(log)
        terminal.until(lambda rows: any("● running" in row for row in rows))
        say("the restart budget is spent")
        sys.stdout.write("printed")
        print(" in pieces")  # noqa: T201
        rows = terminal.until(lambda rows: "printed in pieces" in rows)
        assert rows[1:3] == ["supervisor: the restart budget is spent", "printed in pieces"]


def test_a_progress_bar_is_one_line_that_moves(layout: RunLayout, terminal: Terminal, log: EventLog) -> None:
    with shown(layout, terminal) as display:
        begin(log)
        work(display, "for n in range(1000): os.write(1, b'\\r%3d/1000' % n)\nos.write(1, b'\\rdone    \\n')")
    assert [row for row in terminal.all_rows if "1000" in row or row.startswith("done")] == ["done"]


def test_a_window_of_another_size_is_drawn_anew_and_told_to_the_workers(
    layout: RunLayout, terminal: Terminal, log: EventLog
) -> None:
    with shown(layout, terminal) as display:
        begin(log)
        terminal.until(lambda rows: any("● running" in row for row in rows))
        terminal.resize(130, 40)
        terminal.until(lambda rows: any(row.startswith("● running") and len(row) > 100 for row in rows))
        work(display, "print(*os.get_terminal_size(1))")
        rows = terminal.until(lambda rows: "130 40" in rows)
        assert sum("● running" in row for row in rows) == 1


def test_after_a_stop_it_goes_on_below_what_the_shell_has_written(
    layout: RunLayout, terminal: Terminal, log: EventLog
) -> None:
    with shown(layout, terminal) as display:
        begin(log)
        terminal.until(lambda rows: any("● running" in row for row in rows))
        os.write(terminal.descriptor, b"$ fg\r\n")
        display.continued()
        rows = terminal.until(lambda rows: sum("● running" in row for row in rows) == 2)
    assert rows.index("$ fg") < max(index for index, row in enumerate(rows) if "● running" in row)


@pytest.mark.parametrize("part", ["look", "rows"])
def test_a_view_that_raises_is_said_once_and_what_is_printed_is_printed_on(
    layout: RunLayout, terminal: Terminal, log: EventLog, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    def refuse(*_: Any) -> None:
        raise ZeroDivisionError("a fault of the view's own")

    monkeypatch.setattr(LiveView, part, refuse)
    with shown(layout, terminal) as display:
        begin(log)
        terminal.until(lambda rows: any("left out" in row for row in rows))
        work(display, "print('still printed')")
        terminal.until(lambda rows: "still printed" in rows)
    said = [row for row in terminal.all_rows if "left out" in row]
    assert said == ["supervisor: the view is left out: ZeroDivisionError: a fault of the view's own"]


def test_a_terminal_that_takes_nothing_keeps_neither_a_worker_nor_the_end(
    layout: RunLayout, terminal: Terminal, log: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after Ctrl-S: nobody reads what is drawn."""
    monkeypatch.setattr(run_display, "CLOSE_SECONDS", 0.5)
    monkeypatch.setattr(run_display, "MOST_WAITING", 100_000)
    with shown(layout, terminal) as display:
        begin(log)
        work(display, "for n in range(200_000): print('line', n)")
        work(display, "print('another worker')")
    assert any(thread.name == "display" and thread.is_alive() for thread in threading.enumerate())
    assert select.select([], [terminal.descriptor], [], 0)[1] == []
    rows = terminal.until(lambda rows: any("another worker" in row for row in rows))
    assert rows
    assert any("lines of output left out: the terminal was too slow" in row for row in terminal.all_rows)


def test_a_terminal_that_is_gone_ends_nothing(
    layout: RunLayout, log: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    master, end = os.openpty()
    with open(end, "w", closefd=False) as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        with on_terminal(layout) as display:
            os.close(master)
            begin(log)
            work(display, "print('nobody reads this')")
            finish(log)
    os.close(end)


def test_where_stderr_goes_elsewhere_it_goes_there_from_the_workers_too(
    layout: RunLayout, terminal: Terminal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (tmp_path / "err").open("w") as elsewhere, open(terminal.descriptor, "w", closefd=False) as out:
        monkeypatch.setattr(sys, "stdout", out)
        monkeypatch.setattr(sys, "stderr", elsewhere)
        with on_terminal(layout) as display:
            assert display.worker_streams[1] is None
            say("into the file")
    assert (tmp_path / "err").read_text() == "supervisor: into the file\n"


def no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> tuple[int, int]:
        raise OSError(2, "out of pty devices")

    monkeypatch.setattr(os, "openpty", refuse)


def dumb(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")


@pytest.mark.parametrize("less", [no_terminal, dumb])
def test_where_no_view_can_be_had_there_is_none(
    layout: RunLayout, terminal: Terminal, monkeypatch: pytest.MonkeyPatch, less: Callable[[Any], None]
) -> None:
    less(monkeypatch)
    with open(terminal.descriptor, "w", closefd=False) as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        assert display_on_terminal(layout, "runs/mine", SystemClock(), lambda: False) is None


def test_in_a_pipe_there_is_none(layout: RunLayout) -> None:
    assert display_on_terminal(layout, "runs/mine", SystemClock(), lambda: False) is None
