"""Work of a command that needs torch and the user's trainer, in a process of its own."""

from __future__ import annotations

import subprocess
from pathlib import Path

from supervisor.errors import InputError
from supervisor.process.shadowing import command
from supervisor.run_layout import RunLayout

__all__ = ["run_helper", "with_its_job"]


def run_helper(module: str, *arguments: str, told: str | None = None, output: int | None = None) -> int:
    """Run a module as a program, to its end.

    Args:
        module: its name, as behind `python -m`.
        arguments: what stands behind that.
        told: text for its standard input; None: that of this process.
        output: descriptor that its standard output goes to; None: that of this process.

    Returns:
        Its exit code; the negative number of the signal that killed it.
    """
    started = [*command(module), *arguments]
    return subprocess.run(started, input=told, stdout=output, text=True, check=False).returncode


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
