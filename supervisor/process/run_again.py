"""A run as its directory tells it: the job, the policy and the flags that it was started with."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from supervisor.errors import InputError
from supervisor.job import ResolvedJob, load_job
from supervisor.process.run_directory import without_job
from supervisor.run_layout import RunLayout

__all__ = ["job_of_run"]


def job_of_run(
    run_dir: str, *, overrides: Sequence[str] = (), policy: str | None = None, steps: int | None = None
) -> ResolvedJob:
    """The job of the run in a directory, flags of its start included; the directory may have been moved since.

    Args:
        run_dir: the run directory, as the user typed it.
        overrides: what stands behind each `--set`; see `load_job`.
        policy: a policy file, relative to the present working directory, instead of the run's.
        steps: where the schedule ends, instead of the run's.

    Raises:
        InputError: there is no run here, or a flag is wrong.
    """
    layout = RunLayout(Path(run_dir))
    if not layout.root.is_dir():
        raise InputError(f"{run_dir}: there is no such run directory: start a run with supervisor run JOB.yaml")
    if not layout.job.is_file():
        raise InputError(f"{run_dir}: {without_job(layout)}")
    return load_job(str(layout.job), overrides=overrides, policy=policy, run_dir=run_dir, steps=steps)
