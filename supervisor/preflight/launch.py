"""Starts the process in which a job is tried, beside its run directory, and tidies up after it."""

from __future__ import annotations

import contextlib
import shutil
import signal
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

from supervisor.errors import ExitCode, InputError
from supervisor.events.quarantine_file import QuarantinedSample, read_quarantine, write_quarantine
from supervisor.job import ResolvedJob
from supervisor.preflight.report import BadRow, Preflight
from supervisor.preflight.spec import PreflightSpec
from supervisor.preflight.view import HEADS
from supervisor.process.helper import run_helper
from supervisor.process.spec import WorkerSpec
from supervisor.streams import tell

__all__ = ["preflight"]

MODULE = "supervisor.preflight.entry"


def preflight(resolved: ResolvedJob, *, rows: int | None, quarantine_out: str | None = None) -> Preflight:
    """Try a job, in a process of its own; nothing is left of it but the quarantine list, where there are bad rows.

    Args:
        resolved: the job.
        rows: how many rows of the data are looked at; None: all.
        quarantine_out: where the list goes; None: beside the job file. A file that is there is never replaced.

    Raises:
        InputError: the list is there already, the job's own cannot be read, or no folder can be made where the run
            directory will be.
        SystemExit: the preflight itself has failed.
    """
    if quarantine_out is not None and Path(quarantine_out).exists():
        raise InputError(f"--quarantine-out {quarantine_out}: is there already: write another name, or move it away")
    if resolved.quarantine is not None:
        read_quarantine(resolved.quarantine)
    with _folder_beside(resolved) as folder, _ends_in_good_order():
        worker = WorkerSpec.of(resolved, run_id="preflight", resume=False)
        spec = PreflightSpec(worker=worker, source=resolved.source, rows=rows, folder=folder)
        # What the trainer prints is not what was found.
        code = run_helper(MODULE, told=spec.model_dump_json(), output=2)
        found = _found(spec, code)
    return _with_quarantine(found, resolved, quarantine_out)


def _found(spec: PreflightSpec, code: int) -> Preflight:
    with contextlib.suppress(FileNotFoundError):
        return Preflight.model_validate_json(spec.report.read_bytes())
    if code == ExitCode.BUG:
        tell("supervisor: the preflight itself has failed, with the traceback above")
        raise SystemExit(ExitCode.BUG)
    how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
    with contextlib.suppress(OSError):
        how += f", while {spec.phase.read_text(encoding='utf-8')}"
    job = spec.worker.job
    return Preflight(job=spec.source, trainer=job.trainer, steps=job.steps, problems=(f"the process {how}",))


def _with_quarantine(found: Preflight, resolved: ResolvedJob, typed: str | None) -> Preflight:
    bad = () if found.data is None else found.data.bad_rows
    named = {row.index: row for row in bad if row.index is not None}
    if not named:
        return found
    path = Path(typed) if typed is not None else _free_name(Path(resolved.source))
    # With the rows that the job leaves out already, so that one list takes the place of the other.
    before = () if resolved.quarantine is None else read_quarantine(resolved.quarantine)
    samples = [*before, *(_sample(row) for index, row in named.items())]
    try:
        write_quarantine(path, samples)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror}): write another --quarantine-out") from error
    return found.model_copy(update={"quarantine": str(path), "quarantined": len(samples)})


def _sample(row: BadRow) -> QuarantinedSample:
    assert row.index is not None
    return QuarantinedSample(index=row.index, reason=f"{HEADS[row.fault]}: {row.what}")


def _free_name(job: Path) -> Path:
    """`JOB-quarantine.jsonl` beside the job file, with a number where that is there already."""
    number, path = 1, job.with_name(f"{job.stem}-quarantine.jsonl")
    while path.exists():
        number += 1
        path = job.with_name(f"{job.stem}-quarantine-{number}.jsonl")
    return path


@contextlib.contextmanager
def _folder_beside(resolved: ResolvedJob) -> Iterator[Path]:
    """A folder on the file system of the run directory, gone after the block."""
    run_dir = resolved.run_dir
    there = run_dir if run_dir.is_mount() else next(path for path in run_dir.parents if path.is_dir())
    try:
        folder = Path(tempfile.mkdtemp(prefix=".preflight-", dir=there))
    except OSError as error:
        what = f"{resolved.job.run_dir}: cannot be written ({error.strerror})"
        raise InputError(f"{what}: choose another run directory") from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _ends_in_good_order() -> Iterator[None]:
    """SIGTERM is answered as Ctrl-C is, so that nothing is left behind."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
