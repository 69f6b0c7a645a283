"""Writing a job into its run directory, so that `--resume` needs nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from supervisor.config.yaml_values import plain_yaml
from supervisor.job.load import ResolvedJob
from supervisor.run_layout import RunLayout, replace_file

__all__ = ["dump_job", "job_yaml"]


def job_yaml(resolved: ResolvedJob) -> str:
    """The job as YAML: paths absolute, the policy as `policy.yaml` beside it."""
    values: dict[str, Any] = resolved.job.model_dump(mode="json", exclude={"config", "faults", "quarantine"})
    values["config"] = resolved.job.config
    values["policy"] = RunLayout(Path()).policy.name
    values["run_dir"] = str(resolved.run_dir)
    values["faults"] = str(resolved.faults) if isinstance(resolved.faults, Path) else resolved.faults
    values["quarantine"] = None if resolved.quarantine is None else str(resolved.quarantine)
    return plain_yaml({key: values[key] for key in type(resolved.job).model_fields})


def dump_job(resolved: ResolvedJob, directory: Path) -> Path:
    """Write `job.yaml` into a directory; the caller writes `policy.yaml` there (`resolved_yaml`).

    The file loads back to the same job. It is complete or not there at all.

    Returns:
        The path of the file.

    Raises:
        OSError: it cannot be written.
    """
    path = RunLayout(directory).job
    replace_file(path, job_yaml(resolved), durable=True)
    return path
