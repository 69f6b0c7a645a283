"""What commands need whose work is done in a process of its own, since it takes torch and a trainer."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from supervisor.errors import InputError
from supervisor.run_layout import RunLayout

__all__ = ["tell", "with_its_job"]


def with_its_job(run_dir: Path, what_for: str) -> Path:
    """A run directory that holds the job, so that its trainer can be built.

    Args:
        run_dir: the run directory, as the user typed it.
        what_for: which command needs it, for the message.

    Raises:
        InputError: there is no such directory, or a loop of one's own writes it, without a job.
    """
    if not run_dir.is_dir():
        raise InputError(f"{run_dir}: there is no such run directory: write the one that a run was started in")
    if not RunLayout(run_dir).job.is_file():
        raise InputError(
            f"{run_dir}: has no job.yaml, so its trainer cannot be built: {what_for} is for runs of `supervisor run`"
        )
    return run_dir


def tell(text: str) -> None:
    """Print what such a process has found; a reader that has seen enough (`| head`) is no failure."""
    try:
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()
    except BrokenPipeError:
        # Else the interpreter complains again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
