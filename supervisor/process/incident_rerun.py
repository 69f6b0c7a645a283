"""Starts the process in which the flagged step of an incident is run again."""

from __future__ import annotations

from pathlib import Path

from supervisor.errors import InputError
from supervisor.events.incident_file import BATCH_FILE, STATE_FILE
from supervisor.process.helper import run_helper, with_its_job

__all__ = ["rerun_incident"]


def rerun_incident(run_dir: Path, folder: Path, *, as_json: bool) -> int:
    """Run the flagged step of an incident again, and show where it first goes wrong.

    Args:
        run_dir: the run directory.
        folder: the incident's, in it.
        as_json: one JSON object instead of lines for people.

    Returns:
        The exit code.

    Raises:
        InputError: the run has no job to build the trainer from, or the incident lacks the files.
    """
    with_its_job(run_dir, "--replay")
    missing = [name for name in (BATCH_FILE, STATE_FILE) if not (folder / name).is_file()]
    if missing:
        mend = "raise `max_bundle_mb` or `keep_bundles` in the policy's `diagnose` to have them kept next time"
        raise InputError(f"{folder}: without {' and '.join(missing)} the step cannot be run again: {mend}")
    arguments = [str(run_dir), str(folder), *(["--json"] if as_json else [])]
    return run_helper("supervisor.process.incident_rerun_entry", *arguments)
