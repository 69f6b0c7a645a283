"""What can be done with the checkpoints of a run from outside: evaluate one, export one."""

from __future__ import annotations

from pathlib import Path

from supervisor.errors import InputError
from supervisor.process.helper import run_helper, with_its_job

__all__ = ["evaluate_checkpoint", "export_checkpoint", "refuse_output"]

SUFFIXES = (".safetensors", ".pt")
"""What an export can be written as, told by the end of its name."""


def evaluate_checkpoint(run_dir: Path, checkpoint: str | None, *, as_json: bool) -> int:
    """Have the trainer of a run evaluate one of its checkpoints, in a process of its own.

    Args:
        run_dir: the run directory.
        checkpoint: `best`, `good`, `last` or a path; None: the best one, else the newest good one.
        as_json: one JSON object instead of lines for people.

    Returns:
        The exit code.

    Raises:
        InputError: there is no job to build the trainer from.
    """
    with_its_job(run_dir, "evaluate")
    options = [*(["--checkpoint", checkpoint] if checkpoint is not None else []), *(["--json"] if as_json else [])]
    return run_helper("supervisor.process.evaluate_entry", str(run_dir), *options)


def export_checkpoint(run_dir: Path, checkpoint: str | None, output: Path, *, force: bool) -> int:
    """Write the model of one of a run's checkpoints into a file of its own, in a process of its own.

    Args:
        run_dir: the run directory.
        checkpoint: as for `evaluate_checkpoint`.
        output: the file; its name ends in `.safetensors` or `.pt`.
        force: whether it may stand there already.

    Returns:
        The exit code.

    Raises:
        InputError: the file cannot be that, or there is no job to build the trainer from.
    """
    refuse_output(output, force=force)
    with_its_job(run_dir, "export")
    options = [*(["--checkpoint", checkpoint] if checkpoint is not None else []), *(["--force"] if force else [])]
    return run_helper("supervisor.process.export_entry", str(run_dir), str(output), *options)


def refuse_output(output: Path, *, force: bool, shown: Path | None = None) -> None:
    """Nothing where an export may be written to this file.

    Args:
        output: the file.
        force: whether it may stand there already.
        shown: the same as the user typed it.

    Raises:
        InputError: its name ends in another way, it is a folder, or it stands there already.
    """
    shown = shown or output
    if output.suffix not in SUFFIXES:
        raise InputError(f"-o {shown}: what kind of file is that? Write a name that ends in .safetensors or .pt")
    if output.is_dir():
        raise InputError(f"-o {shown}: is a folder: write the name of a file")
    if output.exists() and not force:
        raise InputError(f"-o {shown}: stands there already: add --force to replace it, or write another name")
