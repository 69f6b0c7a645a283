"""Lets only one supervisor run a directory: a lock that is released when its process ends."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from types import TracebackType

from supervisor.errors import InputError
from supervisor.run_layout import RunLayout

__all__ = ["RunLock"]


class RunLock:
    """Held from construction until `close`, or until the process is gone, however it went.

    Args:
        directory: the run directory; it exists.
        shown: the same as the user typed it.

    Raises:
        InputError: another supervisor holds it, or the directory cannot be written.
    """

    def __init__(self, directory: Path, shown: str) -> None:
        try:
            self._descriptor = os.open(RunLayout(directory).lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            problem = f"{shown}: cannot be written ({error.strerror}): choose another run directory"
            raise InputError(problem) from error
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._descriptor)
            problem = f"{shown}: another supervisor is running it: wait for it, or choose another run directory"
            raise InputError(problem) from None

    def close(self) -> None:
        """Let go of it."""
        os.close(self._descriptor)

    def __enter__(self) -> RunLock:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
