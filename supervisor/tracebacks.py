"""What the text of a traceback tells: the exception, and the line of the user's code that it came from."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

__all__ = ["Frame", "crash_in", "frame_at_fault", "last_line", "raised_at", "users_frame"]

_FRAME = re.compile(r'^\s*File "(?P<file>[^"\n]+)", line (?P<line>\d+)(?:, in (?P<name>\S+))?', re.MULTILINE)
_CRASH = "Fatal Python error: "
"""How `faulthandler` begins what it writes of a process that crashes."""
_OWN = Path(__file__).resolve().parent
_INSTALLED = frozenset({"site-packages", "dist-packages"})
_LIBRARY = f"python{sys.version_info.major}.{sys.version_info.minor}"


class Frame(NamedTuple):
    """A line that a traceback goes through; the name of its function where it tells one."""

    file: str
    line: int
    name: str | None

    @property
    def place(self) -> str:
        """`file:line`."""
        return f"{self.file}:{self.line}"


def last_line(reason: str | None) -> str | None:
    """The last line of a traceback, which names the exception; None where there is none."""
    lines = (reason or "").strip().splitlines()
    return lines[-1] if lines else None


def frame_at_fault(reason: str | None) -> Frame | None:
    """The innermost frame that is neither installed nor the supervisor's own.

    Where there is none, the innermost that is not the supervisor's: nobody can mend a line of its. None without one.
    """
    return users_frame(reason) or next(_not_ours(reason), None)


def users_frame(reason: str | None) -> Frame | None:
    """The innermost frame that is neither installed nor the supervisor's own; None without one."""
    return next((frame for frame in _not_ours(reason) if not _is_installed(frame.file)), None)


def raised_at(reason: str | None) -> str | None:
    """`/path/mine.py:41 in loss`, of the frame at fault; None without one."""
    frame = frame_at_fault(reason)
    return None if frame is None else frame.place + (f" in {frame.name}" if frame.name else "")


def crash_in(stacks: str | None) -> str | None:
    """What `faulthandler` has written of a crash, as a traceback of the thread that crashed: its innermost frame last.

    None where there was none.
    """
    _, found, told = (stacks or "").rpartition(_CRASH)
    if not found:
        return None
    what, _, threads = told.partition("\n")
    # The one that crashed is called the current one, and stands first where it has a Python stack at all.
    first = re.search(r"^Current thread .*\n((?:  File .*\n?)*)", threads, re.MULTILINE)
    frames = [] if first is None else first[1].splitlines()
    return "\n".join([*reversed(frames), f"{_CRASH}{what}"])


def _not_ours(reason: str | None) -> Iterator[Frame]:
    """The frames that are not the supervisor's, the innermost first."""
    for each in reversed([*_FRAME.finditer(reason or "")]):
        if _OWN not in Path(each["file"]).parents:
            yield Frame(each["file"], int(each["line"]), each["name"])


def _is_installed(file: str) -> bool:
    parts = Path(file).parts
    library = any(pair == ("lib", _LIBRARY) for pair in pairwise(parts))
    return file.startswith("<") or library or not _INSTALLED.isdisjoint(parts)
