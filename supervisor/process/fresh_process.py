"""What commands need whose work is done in a process of its own, since it takes torch and a trainer."""

from __future__ import annotations

from pathlib import Path

from supervisor.errors import InputError
from supervisor.run_layout import RunLayout

__all__ = ["with_its_job"]


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
