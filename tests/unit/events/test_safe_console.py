"""A console that obeys nothing but itself."""

from __future__ import annotations

import io
import sys

import pytest
from rich.table import Table
from rich.text import Text

from supervisor.events.safe_console import SafeConsole, console_on_stdout

HOSTILE = "\x1b[2J\x1b]0;title\x07 a\rb\x00 \u202egnp.exe \x9b31m"


@pytest.mark.parametrize("terminal", [True, False])
def test_a_text_of_others_is_shown_and_not_obeyed(terminal: bool) -> None:
    out = io.StringIO()
    console = SafeConsole(file=out, force_terminal=terminal, color_system=None, width=200)
    table = Table.grid()
    table.add_row(Text(HOSTILE))
    console.print(Text(HOSTILE))
    console.print(table)
    assert out.getvalue().replace("\n", "").isprintable()
    assert out.getvalue().count("\\x1b[2J\\x1b]0;title") == 2


def test_its_own_colours_stay() -> None:
    out = io.StringIO()
    SafeConsole(file=out, force_terminal=True, color_system="standard").print(Text("bad", style="bold red"))
    assert out.getvalue() == "\x1b[1;31mbad\x1b[0m\n"


class Tee:
    """What a trainer may put in the place of the standard output."""

    def __init__(self) -> None:
        self.taken = ""

    def write(self, text: str) -> None:
        self.taken += text


def test_it_prints_to_whatever_stands_in_the_place_of_the_standard_output(monkeypatch: pytest.MonkeyPatch) -> None:
    tee = Tee()
    monkeypatch.setattr(sys, "stdout", tee)
    console = console_on_stdout()
    console.print(Text("a → b"))
    assert (tee.taken, console.is_terminal) == ("a → b\n", False)


def test_where_the_encoding_is_narrow_it_draws_with_what_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    file = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", file)
    table = Table("a → b")
    table.add_row("×")
    console_on_stdout().print(table)
    shown = file.buffer.getvalue().decode("ascii")  # type: ignore[attr-defined]
    assert "a -> b" in shown
    assert "\\u25" not in shown, "no escapes of box characters"
