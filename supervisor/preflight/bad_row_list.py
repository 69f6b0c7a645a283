"""The list of bad rows that a preflight leaves behind: where it goes, and what is in it."""

from __future__ import annotations

from pathlib import Path

from supervisor.errors import InputError
from supervisor.events.quarantine_file import QuarantinedSample, read_quarantine, write_quarantine
from supervisor.job import ResolvedJob
from supervisor.preflight.report import BadRow, DataCheck
from supervisor.preflight.view import HEADS

__all__ = ["path_of_list", "write_list"]


def path_of_list(resolved: ResolvedJob, typed: str | None) -> Path:
    """Where the list goes: always the same place, so that preflights do not leave one list beside the other.

    A list of an earlier preflight is replaced. The one that the job names never is, nor any other file: without a name
    from the user, `JOB-quarantine-new.jsonl` takes the place of `JOB-quarantine.jsonl` then.

    Args:
        resolved: the job.
        typed: the name that the user has given; None: beside the job file.

    Raises:
        InputError: something else is there.
    """
    if typed is not None:
        if (why := _why_not(Path(typed), resolved)) is not None:
            raise InputError(f"--quarantine-out {typed}: {why}: write another name, or move it away")
        return Path(typed)
    job = Path(resolved.source)
    first, second = (job.with_name(f"{job.stem}-quarantine{more}.jsonl") for more in ("", "-new"))
    if _why_not(first, resolved) is None:
        return first
    if (why := _why_not(second, resolved)) is not None:
        raise InputError(f"{second}: {why}: move it away, or write a name with --quarantine-out")
    return second


def write_list(path: Path, resolved: ResolvedJob, data: DataCheck | None) -> int:
    """Write the rows that the job leaves out already, and those that were found, where any were found.

    A row of the list that is replaced stays where this pass has not looked at all rows. Nothing is written where the
    list is the same as before.

    Returns:
        How many rows are in it; 0 where there is no list.

    Raises:
        InputError: it cannot be written.
    """
    found = [_sample(row) for row in (() if data is None else data.bad_rows) if row.index is not None]
    if data is None or not found:
        return 0
    # With the rows that the job leaves out already, so that one list takes the place of the other.
    own = () if resolved.quarantine is None else read_quarantine(resolved.quarantine)
    before = read_quarantine(path) if path.is_file() else ()
    samples = {sample.index: sample for sample in own}
    for sample in (*found, *(() if data.complete else before)):
        samples.setdefault(sample.index, sample)
    if tuple(samples.values()) != before:
        try:
            write_quarantine(path, samples.values())
        except OSError as error:
            raise InputError(f"{path}: cannot be written ({error.strerror}): write another --quarantine-out") from error
    return len(samples)


def _why_not(path: Path, resolved: ResolvedJob) -> str | None:
    """Why a file is not replaced; None where it can be."""
    if not path.exists():
        return None
    if resolved.quarantine is not None and Path(resolved.quarantine).resolve() == path.resolve():
        return "is the list that the job names"
    try:
        lines = read_quarantine(path)
    except InputError:
        return "is there already, and is no list of a preflight"
    # One of a run names incidents, one of a person's need not give reasons.
    of_preflight = all(line.incident is None and line.reason is not None for line in lines)
    return None if of_preflight else "is there already, and is no list of a preflight"


def _sample(row: BadRow) -> QuarantinedSample:
    assert row.index is not None
    return QuarantinedSample(index=row.index, reason=f"{HEADS[row.fault]}: {row.what}")
