"""One writer of a rank's events: a lock that a guard holds for as long as its run goes on.

The lock of the run directory itself belongs to `supervisor run`, whose workers come and go under it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
import weakref
from collections.abc import Callable
from pathlib import Path

from supervisor.errors import InputError
from supervisor.events.owner_file import Owner, read_owner

__all__ = ["PATIENCE_SECONDS", "WriterLock", "refuse_other_supervisor"]

PATIENCE_SECONDS = 5.0
"""How long a lock that another process holds is waited for: a worker that was killed takes its time to be gone."""

_PAUSE_SECONDS = 0.1

_held: dict[tuple[int, int], int] = {}
"""Lock files that this process holds, by device and inode, with its number: after a fork the child holds none."""


class WriterLock:
    """Held by at most one guard, of this process or of any other; a process that ends, however, lets go of it.

    It is a record lock, which a forked process does not inherit: the worker processes of a `DataLoader` may outlive a
    guard that was killed, and are not to hold its directory.
    """

    def __init__(self) -> None:
        self._path: Path | None = None
        self._shown = ""
        self._let_go: Callable[[], object] | None = None

    def claim(self, path: Path, shown: str, pause: Callable[[float], object] = time.sleep) -> None:
        """Hold a lock file from now on.

        Args:
            path: the lock file; it and its folder are made where they are missing.
            shown: the run directory as the user gave it.
            pause: waits for so many seconds.

        Raises:
            InputError: another guard holds it.
        """
        self._path, self._shown = path, shown
        self.hold(pause)

    def hold(self, pause: Callable[[float], object] = time.sleep) -> None:
        """Hold the file that was claimed; nothing where it is held, or where there is none.

        Where the disk or the file system gives no lock, nothing is held, and nothing is refused.

        Raises:
            InputError: another guard holds it.
        """
        if self._path is None or self._let_go is not None:
            return
        # Before it is opened: to close the file once more would let go of the lock that this process has on it.
        if _held.get(_identity(self._path) or (0, 0)) == os.getpid():
            mend = "close it first (`guard.close()`, or `with Guard(...) as guard:`), or choose another run directory"
            raise InputError(f"{self._shown}: another Guard of this process has it open: {mend}")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError:
            return
        try:
            locked = _locked(descriptor, pause)
        except BlockingIOError:
            owner = read_owner(self._path)
            who = "another process" if owner is None else f"process {owner.pid}"
            os.close(descriptor)
            mend = "wait for it to end, or choose another run directory"
            raise InputError(f"{self._shown}: a Guard of {who} has it open: {mend}") from None
        if not locked:
            os.close(descriptor)
            return
        status = os.fstat(descriptor)
        _held[status.st_dev, status.st_ino] = os.getpid()
        self._let_go = weakref.finalize(self, _close, descriptor, (status.st_dev, status.st_ino))
        with contextlib.suppress(OSError):
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{Owner.this_process().model_dump_json()}\n".encode(), 0)

    def release(self) -> None:
        """Let go of it, until it is asked for again."""
        if self._let_go is not None:
            self._let_go()
            self._let_go = None


def refuse_other_supervisor(lock: Path, shown: str) -> None:
    """Nothing where the run directory belongs to nobody, or to the `supervisor run` that started this process.

    Args:
        lock: the lock file of the run directory.
        shown: the directory as the user gave it.

    Raises:
        InputError: another process runs it.
    """
    try:
        descriptor = os.open(lock, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        owner = read_owner(lock)
        # On a full disk nobody is on record; it may well be the one that started this process.
        if owner is None or owner.pid in (os.getppid(), os.getpid()):
            return
        mend = "wait for it to end, or choose another run directory"
        raise InputError(f"{shown}: a `supervisor run` (process {owner.pid}) is running it: {mend}") from None
    except OSError:
        return
    finally:
        os.close(descriptor)


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _locked(descriptor: int, pause: Callable[[float], object]) -> bool:
    """Whether the lock was given; False where the file system has none.

    Raises:
        BlockingIOError: another process holds it, and went on holding it.
    """
    for attempt in range(round(PATIENCE_SECONDS / _PAUSE_SECONDS) + 1):
        if attempt:
            pause(_PAUSE_SECONDS)
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            continue
        except OSError:
            return False
        return True
    raise BlockingIOError


def _close(descriptor: int, identity: tuple[int, int]) -> None:
    # In a forked process the entry is its parent's, and closing the file lets go of nothing.
    if _held.get(identity) == os.getpid():
        del _held[identity]
    with contextlib.suppress(OSError):
        os.close(descriptor)
