"""Where a command's output goes, and what becomes of it when nobody reads on."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator

__all__ = ["output_on_stderr", "reader_may_leave"]


@contextlib.contextmanager
def reader_may_leave() -> Iterator[None]:
    """A reader that has seen enough (`| head`) ends the block, and is no failure."""
    try:
        yield
        sys.stdout.flush()
    except (BrokenPipeError, SystemExit):  # Rich answers a closed pipe with SystemExit
        # Else the interpreter complains again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextlib.contextmanager
def output_on_stderr() -> Iterator[None]:
    """What this process and those that it starts print goes to stderr: stdout is left to what a machine reads."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)
