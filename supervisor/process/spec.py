"""What the parent tells the worker: one JSON object on its standard input."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from supervisor.config.origins import Origins
from supervisor.job import Job, ResolvedJob
from supervisor.policy import RecoveryPolicy
from supervisor.run_layout import RunLayout

__all__ = ["WorkerSpec"]

_Lines = list[tuple[tuple[Any, ...], int]]
_Flags = list[tuple[tuple[Any, ...], str]]


class WorkerSpec(BaseModel):
    """A job, ready to run.

    Attributes:
        job: the job, flags applied.
        policy: its resolved policy.
        policy_source: what the policy was read from, for the record.
        run_dir: absolute path of the run directory.
        shown_run_dir: the same as the user typed it.
        faults: absolute path of a fault script, the inline script, or None.
        quarantine: absolute path of a list of samples to leave out, or None.
        run_id: the run's name in the events.
        resume: go on from the newest verified checkpoint.
        source: the job file as the user typed it.
        lines: for each path in the job its line.
        flags: for each path that a flag has set, the flag.
        policy_lines: as `lines`, for the policy.
        policy_flags: as `flags`, for the policy.
    """

    model_config = ConfigDict(frozen=True)

    job: Job
    policy: RecoveryPolicy
    policy_source: str
    run_dir: str
    shown_run_dir: str
    faults: str | list[Any] | None
    quarantine: str | None
    run_id: str
    resume: bool
    source: str
    lines: _Lines
    flags: _Flags
    policy_lines: _Lines
    policy_flags: _Flags

    @classmethod
    def of(cls, resolved: ResolvedJob, *, run_id: str, resume: bool) -> WorkerSpec:
        """The spec for a resolved job."""
        return cls(
            job=resolved.job,
            policy=resolved.policy,
            policy_source=resolved.policy_source,
            run_dir=str(resolved.run_dir),
            shown_run_dir=resolved.job.run_dir,
            faults=resolved.faults
            if isinstance(resolved.faults, list) or resolved.faults is None
            else str(resolved.faults),
            quarantine=None if resolved.quarantine is None else str(resolved.quarantine),
            run_id=run_id,
            resume=resume,
            source=resolved.source,
            lines=list(resolved.origins.lines.items()),
            flags=list(resolved.origins.flags.items()),
            policy_lines=list(resolved.policy_origins.lines.items()),
            policy_flags=list(resolved.policy_origins.flags.items()),
        )

    @property
    def layout(self) -> RunLayout:
        """The paths of the run directory."""
        return RunLayout(Path(self.run_dir))

    @property
    def origins(self) -> Origins:
        """Where each value of the job was written."""
        return Origins(self.source, dict(self.lines), dict(self.flags))

    @property
    def policy_origins(self) -> Origins:
        """Where each value of the policy was written."""
        return Origins(self.policy_source, dict(self.policy_lines), dict(self.policy_flags))
