"""Text of others (names, rows, messages of exceptions) made safe and small for whoever reads it on a terminal."""

from __future__ import annotations

import re

__all__ = ["LONGEST_TEXT", "fitting", "in_one_line", "json_for_terminals", "shortened", "visible", "writable"]

LONGEST_TEXT = 500
"""How much of one text a table, a list or a line shows, in characters; the log has all of it."""

# Control characters, the separators that break lines, what turns the direction of writing round, half surrogates.
_UNSEEN = "\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff"
_UNSAFE = re.compile(f"[{_UNSEEN}]")
_BREAK = re.compile("[ \t\n]*[\t\n][ \t\n]*")
_PLAIN = str.maketrans({"→": "->", "…": "...", "×": "x", "−": "-", "–": "-"})


def visible(text: str) -> str:
    """The text with every control character as an escape, as `\\x1b`; line feeds and tabs stay.

    No text can then clear a screen, colour it, go back over a line, turn the direction of writing round or ring a bell.
    """
    return _UNSAFE.sub(_escape, text)


def in_one_line(text: str) -> str:
    """The text as one line: a line feed or a tab is a blank, every other control character an escape."""
    return visible(_BREAK.sub(" ", text.replace("\r\n", "\n").strip()))


def shortened(text: str, longest: int = LONGEST_TEXT) -> str:
    """The text, or its beginning and how much more there is of it.

    Args:
        text: of any length.
        longest: how much is kept, in characters; what is said of the rest comes on top of it.
    """
    if len(text) <= longest:
        return text
    return f"{text[:longest]}… ({len(text) - longest} characters more)"


def json_for_terminals(text: str) -> str:
    """JSON of the same meaning, without what JSON allows as it is and a terminal obeys."""
    return _UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def writable(text: str) -> str:
    """The text with an escape for what UTF-8 cannot write, as in the name of a file that is not UTF-8."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def fitting(text: str, encoding: object) -> str:
    """The text in what an encoding has: `->` for an arrow, escapes for the rest.

    Args:
        text: what to write.
        encoding: its name; anything else, as of a stream that has none, takes every text that UTF-8 can write.
    """
    text = writable(text)
    if not isinstance(encoding, str):
        return text
    try:
        text.encode(encoding)
    except LookupError:
        encoding = "ascii"
    except UnicodeError:
        pass
    else:
        return text
    return text.translate(_PLAIN).encode(encoding, "backslashreplace").decode(encoding)


def _escape(found: re.Match[str]) -> str:
    code = ord(found[0])
    if found[0] == "\r":
        return "\\r"
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
