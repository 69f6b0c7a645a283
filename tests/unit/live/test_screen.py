"""The lower end of a terminal: the view, and the lines above it that stay."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator

import pytest
from rich.text import Text
from support.terminal import Terminal

from supervisor.live.screen import Screen, shows_a_view, view_fits


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    with Terminal(40, 10) as made:
        yield made


@pytest.fixture
def screen(terminal: Terminal) -> Screen:
    return Screen(terminal.descriptor, "utf-8")


def view(*rows: str) -> list[Text]:
    return [Text(row, "cyan") for row in rows]


def test_lines_stand_above_and_the_view_below_is_drawn_anew(terminal: Terminal, screen: Screen) -> None:
    screen.draw([], view("step 1", "loss 9"))
    screen.draw(["first"], view("step 2", "loss 8"))
    screen.draw([], view("step 3", "loss 7"))
    assert terminal.rows == ["first", "step 3", "loss 7"]
    assert terminal.cursor == (3, 0, True)


def test_a_view_that_shrinks_or_goes_leaves_nothing_behind(terminal: Terminal, screen: Screen) -> None:
    screen.draw([], view("a", "b", "c"))
    screen.draw([], view("only this"))
    assert terminal.rows == ["only this"]
    screen.draw(["a line"], [])
    assert terminal.rows == ["a line"]
    screen.draw([], view("back"))
    assert terminal.rows == ["a line", "back"]


def test_many_lines_are_all_there_in_order(terminal: Terminal, screen: Screen) -> None:
    screen.draw([f"line {number}" for number in range(1200)], view("the view"))
    assert terminal.all_rows == [*(f"line {number}" for number in range(1200)), "the view"]
    assert screen.rows_printed == 1200


def test_lines_that_are_wider_than_the_terminal_are_whole(terminal: Terminal, screen: Screen) -> None:
    screen.draw([], view("the view"))
    screen.draw(["x" * 40, "y" * 95], view("the view"))
    assert terminal.rows == ["x" * 40, "y" * 40, "y" * 40, "y" * 15, "the view"]
    assert screen.rows_printed == 4


def test_colours_end_with_their_row_and_take_no_room(terminal: Terminal, screen: Screen) -> None:
    screen.draw(["\x1b[31mred\x1b[0m"], view("the view"))
    assert terminal.rows == ["red", "the view"]
    assert screen.rows_printed == 1
    assert screen.styled(Text("bad", "bold red")).count("\x1b") in (0, 2)


def test_a_terminal_that_has_become_larger_shows_it_once(terminal: Terminal, screen: Screen) -> None:
    screen.draw(["first"], view("x" * 39, "y" * 39))
    terminal.resize(80, 20)
    screen.draw([], view("x" * 79, "y" * 79))
    assert terminal.rows == ["first", "x" * 79, "y" * 79]


def test_rows_that_a_narrower_terminal_has_broken_are_gone_over(terminal: Terminal, screen: Screen) -> None:
    """As terminals do that break rows anew: each takes two rows then."""
    screen.draw([], view("x" * 39, "y" * 39))
    before = len(terminal.written)
    terminal.resize(20, 10)
    screen.draw([], view("x" * 19, "y" * 19))
    assert terminal.rows
    assert b"\x1b[4A\x1b[J" in terminal.written[before:]


def test_a_view_that_has_not_changed_is_not_written_again(terminal: Terminal, screen: Screen) -> None:
    screen.draw([], view("the view"))
    assert terminal.rows == ["the view"]
    before = terminal.written
    screen.draw([], view("the view"))
    assert terminal.rows == ["the view"]
    assert terminal.written == before
    terminal.resize(50, 10)
    screen.draw([], view("the view"))
    assert terminal.rows == ["the view"]
    assert terminal.written != before


def test_after_a_stop_it_is_drawn_below_what_a_shell_has_written(terminal: Terminal, screen: Screen) -> None:
    screen.draw([], view("old"))
    os.write(terminal.descriptor, b"[1]+  Stopped\r\n$ fg\r\n")
    screen.forget()
    screen.draw([], view("new"))
    assert terminal.rows == ["old", "[1]+  Stopped", "$ fg", "new"]


def test_whatever_breaks_a_frame_off_the_cursor_is_shown(terminal: Terminal, screen: Screen) -> None:
    os.write(terminal.descriptor, b"\x1b[?25l")
    screen.whole()
    assert terminal.cursor[2]


def test_what_an_encoding_lacks_is_written_as_something_else(terminal: Terminal) -> None:
    Screen(terminal.descriptor, "ascii").draw(["a → b 漢"], view("×"))
    assert terminal.rows == ["a -> b \\u6f22", "x"]


def test_the_size_is_that_of_now(terminal: Terminal, screen: Screen) -> None:
    assert screen.size == (40, 10)
    terminal.resize(33, 7)
    assert screen.size == (33, 7)
    read_end, write_end = os.pipe()
    assert Screen(write_end, "utf-8").size == (80, 24)
    os.close(read_end)
    with pytest.raises(BrokenPipeError):
        Screen(write_end, "utf-8").draw(["x"], [])
    os.close(write_end)


def test_a_descriptor_that_does_not_wait_is_waited_for(terminal: Terminal, screen: Screen) -> None:
    """More than a terminal takes at once, while a person reads slowly."""
    os.set_blocking(terminal.descriptor, False)
    child = os.fork()
    if not child:
        screen.draw(["x" * 30] * 5000, view("the view"))
        os._exit(0)
    while os.waitpid(child, os.WNOHANG) == (0, 0):
        assert terminal.all_rows is not None
    assert terminal.all_rows.count("x" * 30) == 5000
    assert terminal.rows[-1] == "the view"


def test_a_terminal_that_is_no_shells_is_never_in_the_background(screen: Screen) -> None:
    assert not screen.in_background
    assert signal.getsignal(signal.SIGTTOU) is signal.SIG_DFL


@pytest.mark.parametrize(("rows", "fits"), [(0, 0), (1, 0), (3, 2), (7, 6), (10, 6), (24, 12), (50, 25)])
def test_lines_are_to_be_seen_above_the_view(rows: int, fits: int) -> None:
    assert view_fits(rows) == fits


@pytest.mark.parametrize(("term", "expected"), [("xterm-256color", True), ("dumb", False), ("unknown", False)])
def test_a_view_needs_a_terminal_that_moves_its_cursor(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch, term: str, expected: bool
) -> None:
    monkeypatch.setenv("TERM", term)
    with open(terminal.descriptor, "w", closefd=False) as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        assert shows_a_view() is expected


def test_a_pipe_is_no_terminal_whatever_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    read_end, write_end = os.pipe()
    with open(write_end, "w") as stream, open(read_end):  # noqa: PTH123
        monkeypatch.setattr(sys, "stdout", stream)
        assert not shows_a_view()
    monkeypatch.setattr(sys, "stdout", object())
    assert not shows_a_view()
