"""The run directory as the parent sees it: held by one, prepared for a new run, checked for a resumed one."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

from supervisor.config.origins import one_line
from supervisor.errors import ExitCode, InputError
from supervisor.events.owner_file import claim
from supervisor.job import ResolvedJob, dump_job, load_job
from supervisor.policy import load_policy, resolved_yaml
from supervisor.report.status import RunState, read_status
from supervisor.run_layout import RunLayout, replace_file

__all__ = ["RunDirectory", "run_lock"]

FIXED = ("trainer", "config", "seed", "device", "faults", "quarantine")
"""What may not change between a start and a resume."""


@contextlib.contextmanager
def run_lock(directory: Path, shown: str) -> Iterator[None]:
    """Hold a run directory for one supervisor, until the block is left or the process is gone, however it went.

    Args:
        directory: the run directory; it exists.
        shown: the same as the user typed it.

    Raises:
        InputError: another supervisor holds it, or the directory cannot be written.
    """
    try:
        descriptor = os.open(RunLayout(directory).lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise _unusable(shown, "written", error) from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            problem = f"{shown}: another supervisor is running it: wait for it, or choose another run directory"
            raise InputError(problem) from None
        claim(RunLayout(directory).lock)
        yield
    finally:
        os.close(descriptor)


class RunDirectory:
    """Where one run writes.

    Args:
        resolved: the job.

    Attributes:
        path: the directory.
        layout: the paths in it.
        shown: the directory as the user typed it.
    """

    def __init__(self, resolved: ResolvedJob) -> None:
        self.path = resolved.run_dir
        self.layout = RunLayout(self.path)
        self.shown = resolved.job.run_dir
        self._resolved = resolved
        self._created: list[Path] = []

    def open_new(self) -> None:
        """Make it, or take an empty one.

        Raises:
            InputError: it is not empty, not a directory, or cannot be written; nothing was changed.
        """
        try:
            # A lock alone is of a supervisor that was killed before it began, or of one that runs: that is told later.
            held = next((path for path in self.path.iterdir() if path != self.layout.lock), None)
        except FileNotFoundError:
            held = None
            # What this run adds to the disk: the run directory, and folders above it that are not there yet.
            self._created = [path for path in (self.path, *self.path.parents) if not path.exists()]
        except NotADirectoryError:
            raise InputError(f"{self.shown}: is a file, or lies in one: choose another run directory") from None
        except OSError as error:
            raise _unusable(self.shown, "read", error) from error
        if held is not None:
            raise InputError(
                f"{self.shown}: holds something already ({held.name}): add --resume to go on with it, "
                "or write another --run-dir"
            )
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _unusable(self.shown, "made", error) from error

    def open_again(self) -> None:
        """Take one that a run was started in.

        Raises:
            InputError: there is none, or it is of another job; the message names the difference.
        """
        if not self.path.is_dir():
            raise InputError(f"{self.shown}: there is no such run directory: start the run without --resume")
        if not self.layout.job.is_file():
            raise InputError(f"{self.shown}: holds no run (no job.yaml): start one without --resume")
        before = load_job(str(self.layout.job)).job
        now = self._resolved.job
        for key in FIXED:
            old, new = getattr(before, key), getattr(now, key)
            path = getattr(self._resolved, key, None)
            if isinstance(path, Path):
                new = str(path)
            if old != new:
                what = _difference(key, old, new)
                raise InputError(f"{self.shown}: was started with another {what}: resume with the same, or start anew")

    def already_over(self) -> tuple[ExitCode, str] | None:
        """Why a run that is resumed has nothing left to do, with the code to end with; None where it has."""
        status = read_status(self.path)
        if status.state is RunState.FINISHED and status.step is not None and status.step >= self._resolved.job.steps:
            said = f"{self.shown}: has finished its {status.step} steps; it goes on with more of them (--steps)"
            return ExitCode.FINISHED, said
        written = self.layout.policy
        halted = status.state is RunState.HALTED and written.is_file()
        if halted and load_policy(str(written)) == self._resolved.policy:
            said = f"{self.shown}: was halted by this policy ({status.reason}); it goes on under another one (--policy)"
            return ExitCode.HALTED, said
        return None

    def prepare(self) -> None:
        """Write `job.yaml` and `policy.yaml`.

        Raises:
            InputError: they cannot be written.
        """
        try:
            dump_job(self._resolved, self.path)
            replace_file(self.layout.policy, resolved_yaml(self._resolved.policy))
        except OSError as error:
            raise _unusable(self.shown, "written", error) from error

    def run_id(self) -> str:
        """The run's name: the one its events have, or a new one."""
        log = self.layout.parent_events
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError), log.open(encoding="utf-8") as file:
            return str(json.loads(file.readline())["run_id"])
        return uuid.uuid4().hex[:12]

    @property
    def begun(self) -> bool:
        """Whether the run has a checkpoint to go on from, or had one: such a run is never begun anew."""
        if self._has_checkpoints:
            return True
        with contextlib.suppress(OSError), self.layout.rank_events.open("rb") as lines:
            return any(b'"checkpoint_saved"' in line for line in lines)
        return False

    def forget_unstarted(self) -> None:
        """Drop what a worker wrote that died before its first checkpoint: the next one starts the run."""
        try:
            self.layout.rank_events.unlink(missing_ok=True)
        except OSError as error:
            # Appended to, it would be the log of two runs.
            raise _unusable(str(self.layout.rank_events), "removed", error) from error

    def leave_no_trace(self) -> None:
        """Remove what was prepared for a job that could not start, so that the mended one can."""
        layout = self.layout
        if self._has_checkpoints or (layout.rank_events.exists() and layout.rank_events.stat().st_size):
            return
        if self._created:
            shutil.rmtree(self.path, ignore_errors=True)
            with contextlib.suppress(OSError):
                for above in self._created[1:]:
                    above.rmdir()
            return
        for folder in (layout.events, layout.heartbeats, layout.checkpoints, layout.incidents):
            shutil.rmtree(folder, ignore_errors=True)
        for file in (layout.job, layout.policy, layout.lock, layout.restarts, layout.faults, layout.quarantine):
            with contextlib.suppress(OSError):
                file.unlink(missing_ok=True)

    @property
    def _has_checkpoints(self) -> bool:
        # A replacement that was killed half-way stands under another name until the store is opened.
        folder = self.layout.checkpoints
        return any(folder.glob("step-*")) or any(folder.glob(".replaced-step-*"))


def _unusable(shown: str, verb: str, error: OSError) -> InputError:
    return InputError(f"{shown}: cannot be {verb} ({error.strerror}): choose another run directory")


def _difference(key: str, old: object, new: object) -> str:
    """Which value differs, and how: `config.width (64, now 32)`."""
    if isinstance(old, dict) and isinstance(new, dict):
        for name in (*old, *new):
            if name not in old or name not in new or old[name] != new[name]:
                return _difference(f"{key}.{name}", old.get(name, "not set"), new.get(name, "not set"))
    return one_line(f"{key} ({old}, now {new})")
