"""What the text of a traceback tells: the exception, and the line of the user's code that raised it."""

from __future__ import annotations

import re

__all__ = ["last_line", "raised_at"]

_FRAME = re.compile(r'^ *File "(?P<file>[^"\n]+)", line (?P<line>\d+)(?:, in (?P<name>\S+))?', re.MULTILINE)
_OF_OTHERS = re.compile(r"[/\\](site|dist)-packages[/\\]|[/\\]lib[/\\]python3|^<")


def last_line(reason: str | None) -> str | None:
    """The last line of a traceback, which names the exception; None where there is none."""
    lines = (reason or "").strip().splitlines()
    return lines[-1] if lines else None


def raised_at(reason: str | None) -> str | None:
    """`/path/mine.py:41 in loss`: the innermost line that is no installed package's; None without a frame.

    Where all are, it is the innermost of all.
    """
    frames = [*_FRAME.finditer(reason or "")]
    if not frames:
        return None
    frame = next((each for each in reversed(frames) if not _OF_OTHERS.search(each["file"])), frames[-1])
    return f"{frame['file']}:{frame['line']}" + (f" in {frame['name']}" if frame["name"] else "")
