"""A bar on a terminal, and elsewhere a line where it takes long."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from supervisor.preflight.progress import PassProgress
from supervisor.testing.clock import FakeClock


def drawn(*, terminal: bool, tick: float = 1.0) -> str:
    stream, clock = io.StringIO(), FakeClock()
    console = Console(file=stream, force_terminal=terminal, width=80)
    with PassProgress("rows", 30, console, clock) as progress:
        for done in (10, 20, 30):
            progress.shown(done)
            clock.advance(tick)
    return stream.getvalue()


def test_nothing_is_written_into_a_pipe_where_it_is_short() -> None:
    assert drawn(terminal=False) == ""


def test_a_pipe_gets_a_line_now_and_then_where_it_takes_long() -> None:
    assert drawn(terminal=False, tick=30.0) == (
        "supervisor: reading the data: 20 of 30 rows\nsupervisor: reading the data: 30 of 30 rows\n"
    )


def test_what_has_no_known_end_is_counted() -> None:
    stream, clock = io.StringIO(), FakeClock()
    with PassProgress("batches", None, Console(file=stream), clock) as progress:
        clock.advance(31)
        progress.shown(12345)
    assert stream.getvalue() == "supervisor: reading the data: 12,345 batches\n"


def test_a_terminal_shows_how_far_it_is() -> None:
    assert "20/30" in drawn(terminal=True)


def test_it_is_not_drawn_for_every_row() -> None:
    assert "20/30" not in drawn(terminal=True, tick=0.001)


def test_a_terminal_that_is_gone_ends_nothing() -> None:
    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError("gone")

    console = Console(file=Gone(), force_terminal=True)
    with PassProgress("rows", 30, console, FakeClock()) as progress:
        progress.shown(10)
    assert console.is_terminal
    with pytest.raises(OSError, match="gone"):
        console.file.write("x")
