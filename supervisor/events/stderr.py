"""Says a line on stderr, and never harms the training where that cannot be done."""

from __future__ import annotations

from supervisor.display import in_one_line, shortened
from supervisor.streams import tell

__all__ = ["PREFIX", "say"]

PREFIX = "supervisor: "
"""What each line begins with."""

LONGEST = 2000
"""How much of a message is said, in characters."""


def say(message: str) -> None:
    """Print `supervisor: MESSAGE` as one line on stderr.

    Control characters in it are written as escapes, and so is a character that the encoding of stderr lacks. Where
    there is no stderr, it is closed or its reader is gone, nothing is said and nothing is raised.
    """
    tell(f"{PREFIX}{in_one_line(shortened(message, LONGEST))}")
