"""Where a worker that stands still is at: the Python stacks of its threads, and of the processes of its loader."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

__all__ = ["STACK_SIGNAL", "ask_for_stacks"]

STACK_SIGNAL = signal.SIGUSR2
"""At this, a worker writes its stacks. What it forks does too: the handler is C, and the file stays open in it."""

WAIT_SECONDS = 2.0
"""How long a process may take to write: only one that the kernel holds takes longer, and it never will."""

PROC = Path("/proc")


def ask_for_stacks(pid: int, path: Path, gone: Callable[[float], bool]) -> None:
    """Have a worker write its stacks, then the processes of its group that it has forked.

    Args:
        pid: of the worker, which leads its group.
        path: the file that it keeps open for that, to append to.
        gone: waits for so many seconds, and says whether the worker is gone.
    """
    _ask(pid, path, gone)
    for other in _group(pid):
        told = _what_it_is(other)
        if told is None:
            continue
        with contextlib.suppress(OSError), path.open("a", encoding="utf-8") as file:
            file.write(f"\n{told}\n")
        # Whoever does not have the file open was not forked by the worker, and might die of the signal.
        if _has_open(other, path) and not _ask(other, path, gone):
            with contextlib.suppress(OSError), path.open("a", encoding="utf-8") as file:
                file.write("  it did not answer\n")


def _ask(pid: int, path: Path, gone: Callable[[float], bool]) -> bool:
    """Have one process write, and wait until it has; whether it did."""
    before = size = _size(path)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, STACK_SIGNAL)
    deadline = time.monotonic() + WAIT_SECONDS
    # Complete when it has stopped growing: a process cannot tell, for it stands still.
    while time.monotonic() < deadline and not gone(0.1):
        now = _size(path)
        if now > before and now == size:
            return True
        size = now
    return size > before


def _group(pid: int) -> Iterator[int]:
    """The other processes of a group, oldest first; none where the system does not tell."""
    numbers = []
    with contextlib.suppress(OSError):
        numbers = sorted(int(entry.name) for entry in PROC.iterdir() if entry.name.isdigit())
    for number in numbers:
        with contextlib.suppress(OSError):
            if number != pid and os.getpgid(number) == pid:
                yield number


def _what_it_is(pid: int) -> str | None:
    """A process in a line: what was started as it, and what the kernel has it do; None where it is gone."""
    try:
        words = (PROC / str(pid) / "cmdline").read_bytes().decode("utf-8", "replace").split("\0")
        status = (PROC / str(pid) / "status").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    state = next((line.partition(":")[2].strip() for line in status.splitlines() if line.startswith("State:")), "?")
    waits = ""
    with contextlib.suppress(OSError):
        where = (PROC / str(pid) / "wchan").read_text(encoding="utf-8", errors="replace").strip()
        waits = f", waits in {where}" if where not in ("", "0") else ""
    command = " ".join(words).strip()[:200]
    return f"Process {pid} of the worker's group ({command}), state {state}{waits}:"


def _has_open(pid: int, path: Path) -> bool:
    with contextlib.suppress(OSError):
        wanted = path.stat()
        for descriptor in (PROC / str(pid) / "fd").iterdir():
            with contextlib.suppress(OSError):
                if os.path.samestat(descriptor.stat(), wanted):
                    return True
    return False


def _size(path: Path) -> int:
    with contextlib.suppress(OSError):
        return path.stat().st_size
    return 0
