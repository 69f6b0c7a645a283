"""From a job file and the flags beside it to a job and its resolved policy, and back to a file."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from supervisor.config.check import check
from supervisor.config.origins import KeyPath, Origins, Place, Problem, refuse
from supervisor.config.yaml_source import read_yaml
from supervisor.config.yaml_values import Document, plain_yaml
from supervisor.errors import InputError
from supervisor.faults.load import check_faults, fault_script
from supervisor.job.model import Job
from supervisor.job.overrides import Override, apply_overrides, parse_override
from supervisor.policy.load import check_policy, is_policy, plain_policy
from supervisor.policy.model import RecoveryPolicy
from supervisor.run_layout import RunLayout, replace_file

__all__ = ["ResolvedJob", "dump_job", "load_job"]


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
    document = read_yaml(path, "job", fits=_is_job)
    if not isinstance(document.value, Mapping):
        refuse(_check(document)[1])
    default = {"run_dir": os.path.join("runs", Path(path).stem or "job")}  # noqa: PTH118
    document = replace(document, value={**default, **document.value})
    for_policy = [each.below("policy") for each in settings if each.path[0] == "policy" and len(each.path) > 1]
    for_job = [each for each in settings if each.path[0] != "policy" or len(each.path) == 1]
    flags = {"--policy": ("policy", policy), "--run-dir": ("run_dir", run_dir), "--steps": ("steps", steps)}
    for_job += [Override(f"{flag} {value}", (key,), value) for flag, (key, value) in flags.items() if value is not None]
    document, job, problems = apply_overrides(document, for_job, _check)
    folder = os.path.dirname(path)  # noqa: PTH120 - `Path` would turn an empty one into `.`
    resolved, policy_origins, policy_problems = _policy_of(document, folder, for_policy, typed=policy)
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
        origins=document.origins,
        policy_origins=policy_origins,
    )


def _is_job(document: Document) -> bool:
    return isinstance(document.value, Mapping) and "trainer" in document.value


def dump_job(resolved: ResolvedJob, directory: Path) -> Path:
    """Write `job.yaml` into a run directory, so that `--resume` needs nothing else.

    Paths are absolute, and the policy is `policy.yaml` beside it, which the caller writes (`resolved_yaml`). The file
    loads back to the same job. It is complete or not there at all.

    Returns:
        The path of the file.

    Raises:
        OSError: it cannot be written.
    """
    layout = RunLayout(directory)
    values: dict[str, Any] = resolved.job.model_dump(mode="json", exclude={"config", "faults", "quarantine"})
    values["config"] = resolved.job.config
    values["policy"] = layout.policy.name
    values["run_dir"] = str(resolved.run_dir)
    values["faults"] = str(resolved.faults) if isinstance(resolved.faults, Path) else resolved.faults
    values["quarantine"] = None if resolved.quarantine is None else str(resolved.quarantine)
    if values["sinks"] is not None and "webhook" in values["sinks"]:
        values["sinks"]["webhook"] |= _address_kept(resolved, layout)
    replace_file(layout.job, plain_yaml({key: values[key] for key in Job.model_fields}), durable=True)
    return layout.job


def _address_kept(resolved: ResolvedJob, layout: RunLayout) -> dict[str, str | None]:
    """What the file says of the address of the webhook: never the address, which lies in a file of its owner's."""
    settings = None if resolved.job.sinks is None else resolved.job.sinks.webhook
    if settings is None or settings.url_env is not None:
        return {}
    kept = {"url": None, "url_file": str(layout.webhook_url.relative_to(layout.root))}
    if settings.url is None:
        path = Path(os.path.dirname(resolved.source), str(settings.url_file)).absolute()  # noqa: PTH120  (as above)
        return kept if path == layout.webhook_url.absolute() else {"url_file": str(path)}
    layout.sinks.mkdir(parents=True, exist_ok=True)
    layout.webhook_url.unlink(missing_ok=True)
    with os.fdopen(os.open(layout.webhook_url, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(settings.url.get_secret_value() + "\n")
    return kept


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


def _check(document: Document) -> tuple[Job | None, list[Problem]]:
    """The job a document describes, or all that is wrong with it, an inline policy and inline faults included."""
    job, problems = check(Job, document, "`trainer: module:Class` and `steps: 1000`")
    values = document.value if isinstance(document.value, Mapping) else {}
    if isinstance(values.get("policy"), Mapping):
        problems += check_policy(document.below("policy"), prefix=("policy",))[1]
    if isinstance(values.get("faults"), list):
        script = fault_script(values["faults"], document.origins)
        problems += check_faults(replace(script, unreadable=document.unreadable))[1]
    return job, problems


def _policy_of(
    job: Document, folder: str, overrides: Sequence[Override], *, typed: str | None
) -> tuple[RecoveryPolicy | None, Origins, list[Problem]]:
    """The policy a job names or holds, and where each value of it was written."""
    written = job.value.get("policy")
    prefix: KeyPath = ()
    if typed is not None or (isinstance(written, str) and written.strip()):
        # Joined and not normalised, so that the name holds what the user typed and opens from where they are.
        name = typed if typed is not None else os.path.join(folder, str(written))  # noqa: PTH118
        try:
            document = read_yaml(name, "policy", fits=is_policy)
        except InputError as error:
            named_by = "" if typed is not None or Path(name).is_file() else job.origins.place(("policy",)).text
            return None, Origins(name), [_as_read(named_by, line) for line in error.problems]
    elif isinstance(written, Mapping):
        prefix = ("policy",)
        document = job.below("policy")
    else:
        document = Document({}, Origins("built-in policy"))
    policy, problems = check_policy(document, prefix=prefix)
    if policy is None or not overrides:
        return policy, document.origins, problems
    # Defaults are written out first, so that a flag may address a rung or a section that the file leaves out.
    plain = Document(plain_policy(policy, written_reactions_only=True), document.origins)
    prefix = ("policy",)
    document, policy, problems = apply_overrides(plain, overrides, partial(check_policy, prefix=prefix), prefix=prefix)
    return policy, document.origins, problems


def _as_read(named_by: str, line: str) -> Problem:
    """What reading a policy file found, behind the line of the job that names a file which is not there."""
    return Problem(Place(f"{named_by}: policy: {line}" if named_by else line, (2, 0), 0), (), "")
