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
from supervisor.events.quarantine_file import read_quarantine
from supervisor.job import ResolvedJob
from supervisor.preflight.bad_row_list import path_of_list, write_list
from supervisor.preflight.report import Preflight
from supervisor.preflight.spec import PreflightSpec
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
        quarantine_out: where the list goes; None: beside the job file (`path_of_list`).

    Raises:
        InputError: something else is where the list goes, the job's own cannot be read, or no folder can be made where
            the run directory will be.
        SystemExit: the preflight itself has failed.
    """
    listed = path_of_list(resolved, quarantine_out)
    if resolved.quarantine is not None:
        read_quarantine(resolved.quarantine)
    with _folder_beside(resolved) as folder, _ends_in_good_order():
        worker = WorkerSpec.of(resolved, run_id="preflight", resume=False)
        spec = PreflightSpec(worker=worker, source=resolved.source, rows=rows, folder=folder)
        # What the trainer prints is not what was found.
        code = run_helper(MODULE, told=spec.model_dump_json(), output=2)
        found = _found(spec, code)
    rows_listed = write_list(listed, resolved, found.data)
    if not rows_listed:
        return found
    return found.model_copy(update={"quarantine": str(listed), "quarantined": rows_listed})


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
