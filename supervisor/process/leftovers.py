"""Processes that a worker leaves behind: they are reaped, and none of them outlives its run."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

__all__ = ["Leftovers", "adopt_orphans", "no_leftovers"]

_PR_SET_CHILD_SUBREAPER = 36
MOST_ROUNDS = 50
"""A process that is killed hands its own children on: so often they are looked for again."""


def adopt_orphans() -> None:
    """Become the parent of what a worker leaves behind in sessions of its own, where the kernel offers that."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)


_OURS: set[int] = set()


@contextlib.contextmanager
def no_leftovers() -> Iterator[Callable[[int], object]]:
    """Gives what is told of processes that this one has started beside a worker that runs already.

    They are no leftovers of that worker, until the block was left.
    """
    told: set[int] = set()

    def tell(pid: int) -> None:
        told.add(pid)
        _OURS.add(pid)

    try:
        yield tell
    finally:
        _OURS.difference_update(told)


class Leftovers:
    """The children that this process has got since this was made, and did not start itself.

    As process 1 of a container it gets every orphan there is; elsewhere, those of its workers (`adopt_orphans`).
    """

    def __init__(self) -> None:
        self._others = _children()

    def reap(self, own: Collection[int]) -> None:
        """Collect those that have ended.

        Args:
            own: the processes that somebody else waits for.
        """
        for child in _children() - self._others - _OURS - set(own):
            _collect(child)

    def end(self, own: Collection[int], group: int = 0) -> list[str]:
        """Kill those that are still there, with what they have started.

        Args:
            own: as `reap`.
            group: of the worker, whose processes are being killed already.

        Returns:
            Name and number of each that had to be killed beside these.
        """
        ended: dict[int, str] = {}
        for _ in range(MOST_ROUNDS):
            new = _children() - self._others - _OURS - set(own)
            left = {child for child in new if not _collect(child)}
            if not left:
                break
            for child in left - ended.keys():
                if group == 0 or _group(child) != group:
                    ended[child] = f"{_name(child)} ({child})"
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(child, signal.SIGKILL)
            for child in left:
                _collect(child, wait=True)
        return list(ended.values())


def _children() -> set[int]:
    """The children of this process, as the kernel lists them; none where it does not."""
    found: set[int] = set()
    with contextlib.suppress(OSError):
        for task in Path("/proc/self/task").iterdir():
            with contextlib.suppress(OSError):
                found.update(map(int, (task / "children").read_text().split()))
    return found


def _collect(child: int, *, wait: bool = False) -> bool:
    """Whether it has ended, and is collected."""
    try:
        return os.waitpid(child, 0 if wait else os.WNOHANG)[0] == child
    except ChildProcessError:
        return True


def _group(child: int) -> int | None:
    with contextlib.suppress(OSError):
        return os.getpgid(child)
    return None


def _name(child: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{child}/comm").read_text(encoding="utf-8", errors="replace").strip()
    return "a process"
