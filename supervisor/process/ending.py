"""How a run is ended from outside: it is asked to stop, or its parent is gone and nothing of it may live on."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, Protocol

__all__ = [
    "ALSO_STOPPING",
    "STOPPING",
    "StopRequest",
    "end_with_parent",
    "end_with_this_process",
    "first_line",
    "new_mark",
    "stopping_held_back",
    "stopping_signals",
    "take_lifeline",
]

ALSO_STOPPING = frozenset({signal.SIGUSR1, signal.SIGHUP})
"""Those of a batch system before its time limit, and of a terminal that is closed: they mean what SIGTERM means."""

STOPPING = (signal.SIGTERM, signal.SIGINT, *sorted(ALSO_STOPPING))
"""The signals that ask a run to end in good order."""

Handler = Callable[[int, FrameType | None], Any]


def stopping_signals() -> tuple[signal.Signals, ...]:
    """Those to listen to: SIGHUP not where it was ignored from the start, as under `nohup`."""
    ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    return tuple(number for number in STOPPING if not (ignored and number is signal.SIGHUP))


@contextlib.contextmanager
def stopping_held_back() -> Iterator[None]:
    """Requests to stop wait until the block was left."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class Stoppable(Protocol):
    """What a request to stop is passed on to."""

    def request_stop(self) -> None:
        """End after the step in progress."""
        ...


class StopRequest:
    """SIGTERM or another that asks to stop: the run ends after the step in progress, also one that has not begun.

    A handler that the trainer puts in the place of this one is called after it (`stay`).
    """

    _signals: tuple[signal.Signals, ...] = ()

    def __init__(self) -> None:
        self._received = False
        self._receiver: Stoppable | None = None
        self._signals = stopping_signals()
        self._theirs: dict[int, Handler] = {}
        # One object, to be recognised by.
        self._mine: Handler = self._receive
        for number in self._signals:
            signal.signal(number, self._mine)
        # The parent blocked them, so that none was lost while the interpreter started.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)

    def goes_to(self, receiver: Stoppable) -> None:
        """Pass the request on, at once where it came already."""
        self._receiver = receiver
        if self._received:
            receiver.request_stop()

    def stay(self) -> None:
        """Listen again to what somebody else has begun to listen to meanwhile; his handler is called after this one.

        Cheap enough for every step: a trainer may install one at its first batch.
        """
        for number in self._signals:
            found = signal.getsignal(number)
            if found is not self._mine:
                if callable(found):
                    self._theirs[number] = found
                else:
                    # The default, which would end the worker at once, or none at all.
                    self._theirs.pop(number, None)
                signal.signal(number, self._mine)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self._received = True
        if self._receiver is not None:
            self._receiver.request_stop()
        # Taken out meanwhile, since it may call the one that it has replaced, which is this.
        theirs = self._theirs.pop(number, None)
        if theirs is not None:
            # One that exits or raises would break the step in progress off: the run is ending in good order already.
            with contextlib.suppress(BaseException):
                theirs(number, frame)
            self._theirs[number] = theirs


_PR_SET_PDEATHSIG = 1
_MOST_ROUNDS = 20
"""So often the watchman looks again for processes that others have started while he looked."""

_WATCHMAN = f"""
trap '' HUP INT TERM USR1 USR2
read -r _
kill -s KILL -- "-$1"
round=0 found=more
while [ "$found" ] && [ $round -lt {_MOST_ROUNDS} ]; do
    found=
    for each in $(grep -lsz "^$2=" /proc/[0-9]*/environ); do
        each=${{each#/proc/}}
        kill -s KILL "${{each%/environ}}" && found=more
    done
    round=$((round + 1))
done
"""


def new_mark() -> str:
    """A name for a worker's environment that no other has: what it starts inherits it, in whichever session that is."""
    return f"SUPERVISOR_WORKER_{uuid.uuid4().hex}"


def end_with_this_process(group: int, mark: str) -> subprocess.Popen[bytes] | None:
    """A process that kills a worker's group, and all that bears its mark, as soon as this process is gone.

    The worker kills its group itself, but the kernel may kill it before it has: its loader's processes and its helpers
    would live on, and those in sessions of their own in any case.

    Args:
        group: the worker's process group.
        mark: the name in its environment, from `new_mark`. Where the kernel does not show environments, or a process
            was started with another one, it is not found by it.

    Returns:
        The process, for the caller to kill once the worker has ended; None where it could not be started.
    """
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        return subprocess.Popen(
            ["/bin/sh", "-c", _WATCHMAN, "watchman", str(group), mark],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            # Of its own: the worker may kill its group before this has looked.
            process_group=0,
        )
    return None


def take_lifeline() -> int:
    """The pipe from the parent, which this process was given as its standard input, for the lifeline alone.

    Whoever else reads the standard input (a question of a package's, a debugger) finds its end: it would wait for ever
    there, or take what the parent writes.
    """
    lifeline = os.dup(0)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    return lifeline


def first_line(descriptor: int) -> bytes:
    """What the parent hands over on the pipe that is the lifeline: unbuffered, for a thread waits on it later."""
    read = b""
    while not read.endswith(b"\n"):
        part = os.read(descriptor, 1 << 16)
        if not part:
            break
        read += part
    return read


def end_with_parent(lifeline: int, told: Callable[[], object] = lambda: None) -> None:
    """Kill this process's whole group as soon as the parent is gone.

    Args:
        lifeline: descriptor of the read end of a pipe whose write end the parent alone holds: its end is the parent's.
        told: called when the parent writes something into it.

    A thread waits on the pipe. Where the kernel offers it, the worker itself is also killed by the kernel, for a
    loop in native code that never lets the thread run.
    """
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    threading.Thread(target=_wait_for_the_end, args=(lifeline, told), name="lifeline", daemon=True).start()


def _wait_for_the_end(lifeline: int, told: Callable[[], object]) -> None:
    while os.read(lifeline, 4096):
        told()
    os.killpg(os.getpgrp(), signal.SIGKILL)
