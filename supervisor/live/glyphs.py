"""The signs that the live view is drawn with, and those for a terminal that has ASCII alone."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ASCII", "UNICODE", "Glyphs", "glyphs_for"]


@dataclass(frozen=True, slots=True)
class Glyphs:
    """One set of signs, each one column wide.

    Attributes:
        levels: heights of the loss, the lowest first.
        odd: a loss that is not finite.
        done: what is done of the bar.
        left: what is left of it.
        incident: an incident below the loss.
        restart: a death of the worker below the loss.
        dot: before the state.
        then: between two rungs of the ladder.
        times: a factor.
        more: what stands for text that was cut off.
    """

    levels: str
    odd: str
    done: str
    left: str
    incident: str
    restart: str
    dot: str
    then: str
    times: str
    more: str


UNICODE = Glyphs("▁▂▃▄▅▆▇█", "!", "━", "─", "▲", "×", "●", "›", "×", "…")
ASCII = Glyphs("_.,-~=*#", "!", "#", "-", "^", "x", "*", ">", "x", "~")


def glyphs_for(encoding: str) -> Glyphs:
    """Those that an encoding can write."""
    every = "".join(getattr(UNICODE, name) for name in UNICODE.__slots__)
    try:
        every.encode(encoding)
    except (LookupError, UnicodeError):
        return ASCII
    return UNICODE
