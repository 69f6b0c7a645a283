"""A bar on a terminal, and not a byte elsewhere."""

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


def test_nothing_is_written_into_a_pipe() -> None:
    assert drawn(terminal=False) == ""


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
