"""What a program writes to its terminal, as lines that are safe to be printed on another one."""

from __future__ import annotations

import codecs
import re

from supervisor.display import visible

__all__ = ["OutputLines"]

LONGEST_LINE = 1 << 16
"""A line without an end is broken here, in characters."""

_COLOUR = re.compile(r"(\x1b\[[\d;:]*m)")
# Whole sequences that are no colour: what they would do to a terminal is not done, and nothing of them is text. None
# reaches over the beginning of another one, or a text of many beginnings would be looked through once for each.
_OTHER = re.compile(
    r"\x1b\[[0-?]*[ -/]*(?!m)[@-~]"  # move, clear, switch
    r"|\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)"  # titles, links, and other strings
    r"|\x1b[ -/]*[0-OQ-WYZ\\`-~]"  # all others
)
# What a line that is written over consists of, beside its text.
_MOVES = re.compile(r"(\r|\x08|\x1b\[[012]?[JK])")
_PARTIAL = re.compile(r"\x1b(?:\[[0-?]*[ -/]*|[\]PX^_][^\x07\x1b]*\x1b?)?\Z")


class OutputLines:
    """Cuts bytes into lines as a terminal would show them.

    Of a line that is written again and again with a carriage return, as a progress bar is, the last state is shown.
    Colours stay, and end with their line; every other control sequence is left out, every other control character is an
    escape.

    Args:
        encoding: of the bytes.
    """

    def __init__(self, encoding: str = "utf-8") -> None:
        self._decoder = codecs.getincrementaldecoder(encoding)("backslashreplace")
        self._rest = ""

    def feed(self, data: bytes) -> list[str]:
        """Take in bytes; the lines that they end."""
        *lines, rest = (self._rest + self._decoder.decode(data)).split("\n")
        if len(rest) > LONGEST_LINE:
            lines.append(rest[:LONGEST_LINE])
            rest = rest[LONGEST_LINE:]
        self._rest = _written_so_far(rest) if "\r" in rest or "\b" in rest else rest
        return [_shown(line) for line in lines]

    @property
    def unfinished(self) -> str:
        """What there is of a line that has not ended, as it would be seen; empty where there is nothing."""
        return _shown(_PARTIAL.sub("", self._rest))

    def end(self) -> list[str]:
        """Nothing more comes: the line that had not ended, if there is one."""
        rest, self._rest = _shown(self._rest), ""
        self._decoder.reset()
        return [rest] if rest.strip() else []


def _shown(line: str) -> str:
    """A line in its last state, clean."""
    if "\x1b" not in line and "\r" not in line and "\b" not in line:
        return visible(line).expandtabs()
    parts = _COLOUR.split(_OTHER.sub("", _state(line)[0]))
    clean = "".join(part if index % 2 else visible(part).expandtabs() for index, part in enumerate(parts))
    return f"{clean}\x1b[0m" if len(parts) > 1 else clean


def _written_so_far(line: str) -> str:
    """What is seen of a line, and back to where it is written on."""
    seen, at = _state(line)
    return seen + "\b" * (len(seen) - at)


def _state(line: str) -> tuple[str, int]:
    """What is seen of a line once it was written over, and where it is written on, in columns of one character."""
    seen, at = "", 0
    for index, part in enumerate(_MOVES.split(line)):
        if index % 2 == 0:
            plain = "\x1b" not in part and "\x1b" not in seen
            seen = seen[:at] + part + (seen[at + len(part) :] if plain else "")
            at += len(part)
        elif part == "\r":
            at = 0
        elif part == "\b":
            at = max(0, at - 1)
        else:
            seen = "" if "2" in part else seen[:at]
            at = min(at, len(seen))
    return seen, at
