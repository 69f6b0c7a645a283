"""From a job file and the flags beside it to a job and its resolved policy."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from supervisor.config.fixes import problems_of, shown
from supervisor.config.origins import KeyPath, Origins, Place, Problem, refuse
from supervisor.config.yaml_source import Document, read_yaml
from supervisor.errors import InputError
from supervisor.job.model import Job
from supervisor.job.overrides import Override, apply_overrides, parse_override
from supervisor.policy.load import check_policy
from supervisor.policy.model import RecoveryPolicy
from supervisor.policy.resolved import plain_policy

__all__ = ["ResolvedJob", "load_job"]


@dataclass(frozen=True)
class ResolvedJob:
    """A job with everything that was looked up for it.

    Attributes:
        job: the job, flags applied.
        policy: its policy, flags applied.
        source: the job file as the user typed it.
        policy_source: the policy file, or the job file for an inline policy, or `built-in policy`.
        run_dir: absolute path of the run directory.
        faults: absolute path of the faults file, the inline list, or None.
        quarantine: absolute path of the list of samples to leave out, or None.
        origins: where each value of the job was written.
        policy_origins: the same for the policy.
    """

    job: Job
    policy: RecoveryPolicy
    source: str
    policy_source: str
    run_dir: Path
    faults: Path | list[Any] | None
    quarantine: Path | None
    origins: Origins
    policy_origins: Origins

    def where(self, *path: str | int) -> str:
        """Where a value of the job was written, as `job.yaml:7` or the flag: `where("config", "width")`."""
        return self.origins.place(path).text


def load_job(
    path: str,
    *,
    overrides: Sequence[str] = (),
    policy: str | None = None,
    run_dir: str | None = None,
    steps: int | None = None,
) -> ResolvedJob:
    """Read a job file and its policy.

    Args:
        path: the job file, as the user typed it.
        overrides: what stands behind each `--set`: `config.width=8` for the job, `policy.cooldown_steps=5`
            for the resolved policy. Later ones win.
        policy: `--policy`: a policy file relative to the working directory, instead of the job's.
        run_dir: `--run-dir`, instead of the job's.
        steps: `--steps`, instead of the job's.

    Raises:
        InputError: every problem of the job, the policy and the flags, one a line.
    """
    settings = _parse_all(overrides)
    document = read_yaml(path, "job")
    problems = list(document.problems)
    if not isinstance(document.value, Mapping):
        if not problems:
            what = "is empty" if document.value is None else f"{shown(document.value)} is not a mapping"
            mend = "write at least `trainer: module:Class` and `steps: 1000`"
            problems.append(document.origins.problem((), what, mend))
        refuse(problems)
    for_policy = [each.below("policy") for each in settings if each.path[0] == "policy" and len(each.path) > 1]
    for_job = [each for each in settings if each.path[0] != "policy" or len(each.path) == 1]
    flags = {"--policy": ("policy", policy), "--run-dir": ("run_dir", run_dir), "--steps": ("steps", steps)}
    for_job += [Override(f"{flag} {value}", (key,), value) for flag, (key, value) in flags.items() if value is not None]
    values, origins, misdirected = apply_overrides(dict(document.value), document.origins, for_job)
    problems += misdirected
    values.setdefault("run_dir", os.path.join("runs", Path(path).stem or "job"))  # noqa: PTH118
    job = None
    try:
        job = Job.model_validate(values)
    except ValidationError as error:
        found = problems_of(error, Job, values, origins)
        problems += [each for each in found if each.path not in document.unreadable]
    folder = os.path.dirname(path)  # noqa: PTH120 - `Path` would turn an empty one into `.`
    resolved, policy_origins, policy_problems = _policy_of(
        values, origins, folder, for_policy, typed=policy, unreadable=document.unreadable
    )
    refuse([*problems, *policy_problems])
    assert job is not None
    assert resolved is not None
    return ResolvedJob(
        job=job,
        policy=resolved,
        source=path,
        policy_source=policy_origins.name,
        run_dir=Path(job.run_dir).absolute(),
        faults=Path(folder, job.faults).absolute() if isinstance(job.faults, str) else job.faults,
        quarantine=None if job.quarantine is None else Path(folder, job.quarantine).absolute(),
        origins=origins,
        policy_origins=policy_origins,
    )


def _parse_all(texts: Sequence[str]) -> list[Override]:
    overrides: list[Override] = []
    lines: list[str] = []
    for text in texts:
        try:
            overrides.append(parse_override(text))
        except InputError as error:
            lines += error.problems
    if lines:
        raise InputError(*lines)
    return overrides


def _policy_of(
    values: Mapping[str, Any],
    origins: Origins,
    folder: str,
    overrides: Sequence[Override],
    *,
    typed: str | None,
    unreadable: frozenset[KeyPath],
) -> tuple[RecoveryPolicy | None, Origins, list[Problem]]:
    """The policy a job names or holds, and where each value of it was written."""
    written = values.get("policy")
    prefix: KeyPath = ()
    if typed is not None or (isinstance(written, str) and written.strip()):
        # Joined and not normalised, so that the name holds what the user typed and opens from where they are.
        name = typed if typed is not None else os.path.join(folder, str(written))  # noqa: PTH118
        try:
            document = read_yaml(name, "policy")
        except InputError as error:
            named_by = "" if typed is not None or Path(name).is_file() else origins.place(("policy",)).text
            return None, Origins(name), [_as_read(named_by, line) for line in error.problems]
    elif isinstance(written, Mapping):
        prefix = ("policy",)
        inside = frozenset(path[1:] for path in unreadable if path[:1] == prefix)
        document = Document(written, origins.below(prefix), (), inside)
    else:
        document = Document({}, Origins("built-in policy"))
    policy, problems = check_policy(document, prefix=prefix)
    if policy is None or not overrides:
        return policy, document.origins, problems
    plain = plain_policy(policy, written_reactions_only=True)
    changed, places, misdirected = apply_overrides(plain, document.origins, overrides, prefix=("policy",))
    policy, problems = check_policy(Document(changed, places), prefix=("policy",))
    return policy, places, [*misdirected, *problems]


def _as_read(named_by: str, line: str) -> Problem:
    """What reading a policy file found, behind the line of the job that names a file which is not there."""
    return Problem(Place(f"{named_by}: policy: {line}" if named_by else line, (2, 0), 0), (), "")
