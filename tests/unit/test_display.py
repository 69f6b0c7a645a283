"""What others have written, as it is shown: nothing that a terminal obeys, and not without end."""

from __future__ import annotations

import json

import pytest

from supervisor.display import fitting, in_one_line, json_for_terminals, shortened, visible, writable

HOSTILE = "\x1b[2J\x1b]0;title\x07 a\rb\x00 \x9b31m \u202egnp.exe \u2066 \x7f \u2028"
"""Clears a screen, sets a title, goes back over a line, turns the writing round."""


def test_nothing_that_a_terminal_obeys_is_left() -> None:
    shown = visible(HOSTILE)
    assert shown.isprintable()
    assert shown.startswith("\\x1b[2J\\x1b]0;title\\x07 a\\rb\\x00 \\x9b31m \\u202egnp.exe")


def test_line_feeds_and_tabs_and_every_other_writing_stay() -> None:
    text = "naïve 数据 🙂 עברית\n\tsecond → line"
    assert visible(text) == text


def test_a_line_stays_one_line() -> None:
    assert in_one_line("  two\r\n   lines\tand \x0b\x85 more  ") == "two lines and \\x0b\\x85 more"
    assert in_one_line("step 3  two blanks") == "step 3  two blanks"


def test_of_a_long_text_the_beginning_is_shown_and_how_much_more_there_is() -> None:
    assert shortened("x" * 2_000_000, 10) == "xxxxxxxxxx… (1999990 characters more)"
    assert shortened("short", 5) == "short"


def test_json_keeps_its_meaning_and_tells_a_terminal_nothing() -> None:
    document = json.dumps({"text": HOSTILE}, ensure_ascii=False, indent=2)
    shown = json_for_terminals(document)
    assert visible(shown) == shown
    assert json.loads(shown) == {"text": HOSTILE}


def test_half_a_surrogate_can_be_written() -> None:
    assert writable("row\udcff.png") == "row\\udcff.png"
    assert fitting("row\udcff.png", None) == "row\\udcff.png"


@pytest.mark.parametrize(
    ("encoding", "shown"),
    [("utf-8", "a → b é"), ("latin-1", "a -> b é"), ("ascii", "a -> b \\xe9"), ("no such", "a -> b \\xe9")],
)
def test_a_text_fits_its_encoding(encoding: str, shown: str) -> None:
    assert fitting("a → b é", encoding) == shown
