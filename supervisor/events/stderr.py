"""Says a line on stderr, and never harms the training where that cannot be done."""

from __future__ import annotations

import contextlib
import sys

__all__ = ["say"]


def say(message: str) -> None:
    """Print `supervisor: MESSAGE` as one line on stderr.

    Where there is no stderr, it is closed or its reader is gone, nothing is said and nothing is raised. A character
    that its encoding lacks is written as an escape.
    """
    line = f"supervisor: {' '.join(message.split())}\n"
    # Notebooks and frameworks put objects of their own in its place, so that anything may be raised.
    with contextlib.suppress(Exception):
        stream = sys.stderr
        try:
            stream.write(line)
        except UnicodeError:
            stream.write(line.encode("ascii", "backslashreplace").decode("ascii"))
        stream.flush()
