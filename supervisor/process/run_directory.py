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
from supervisor.events.writer_lock import WriterLock
from supervisor.job import Job, ResolvedJob, dump_job, load_job
from supervisor.policy import load_policy, resolved_yaml
from supervisor.policy.differences import differences
from supervisor.process.default_values import with_default_values
from supervisor.process.job_difference import difference
from supervisor.process.place import write_place
from supervisor.report.status import RunState, Status, read_status
from supervisor.run_layout import RunLayout, replace_file
from supervisor.saved import newest_verified

__all__ = ["RunDirectory", "run_lock", "without_job"]

MAY_DIFFER = frozenset(
    {
        *("steps", "policy", "run_dir"),
        *("log_every_steps", "observations", "sinks"),
        *("evaluate_every_steps", "keep_best", "processes"),
    }
)
"""What may change between a start and a resume: everything else decides what comes out."""

_SAID_ELSEWHERE = frozenset({"policy", "run_dir", "sinks"})
"""The policy is compared where it is resolved; a directory that was moved is the same run; sinks change nothing."""

_LONGEST_REASON = 300
"""How much of the reason of a halt is said, in characters."""


@contextlib.contextmanager
def run_lock(directory: Path, shown: str) -> Iterator[None]:
    """Hold a run directory for one supervisor, until the block is left or the process is gone, however it went.

    Args:
        directory: the run directory; it exists.
        shown: the same as the user typed it.

    Raises:
        InputError: another supervisor or a guard holds it, or the directory cannot be written.
    """
    try:
        descriptor = os.open(RunLayout(directory).lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise _unusable(shown, "written", error) from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            problem = f"{shown}: another supervisor is running it: wait for it, or choose another run directory"
            raise InputError(problem) from None
        except OSError:
            # A file system without locks: two supervisors are not told apart there, and one works as anywhere.
            pass
        _refuse_a_guard(RunLayout(directory).writer, shown)
        claim(RunLayout(directory).lock)
        yield
    finally:
        os.close(descriptor)


def _refuse_a_guard(lock: Path, shown: str) -> None:
    """Nothing where no guard of a program of its own writes into the directory; the worker that is started would."""
    if lock.exists():
        writer = WriterLock()
        writer.claim(lock, shown)
        writer.release()


class RunDirectory:
    """Where one run writes.

    Args:
        resolved: the job.

    Attributes:
        path: the directory.
        layout: the paths in it.
        shown: the directory as the user typed it.
        changes: what differs from the run's last start and may differ, the policy aside, each with both values.
    """

    def __init__(self, resolved: ResolvedJob) -> None:
        self.path = resolved.run_dir
        self.layout = RunLayout(self.path)
        self.shown = resolved.job.run_dir
        self._resolved = resolved
        self._created: list[Path] = []
        self.changes: tuple[str, ...] = ()

    def open_new(self, *, leftovers: bool = False) -> None:
        """Make it, or take an empty one.

        Args:
            leftovers: also take one that holds nothing but what a run leaves that never began.

        Raises:
            InputError: it is not empty, not a directory, or cannot be written; nothing was changed.
        """
        try:
            # A lock alone is of a supervisor that was killed before it began, or of one that runs: that is told later.
            mine = self.layout.entries() if leftovers else {self.layout.lock}
            held = next((path for path in self.path.iterdir() if path not in mine), None)
        except FileNotFoundError:
            held = None
            # What this run adds to the disk: the run directory, and folders above it that are not there yet.
            self._created = [path for path in (self.path, *self.path.parents) if not path.exists()]
        except NotADirectoryError:
            raise InputError(f"{self.shown}: is a file, or lies in one: choose another run directory") from None
        except OSError as error:
            raise _unusable(self.shown, "read", error) from error
        if held is not None and self.layout.job.is_file():
            raise InputError(
                f"{self.shown}: holds a run already: go on with it (supervisor resume {self.shown}), or write another "
                "--run-dir"
            )
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
            raise InputError(f"{self.shown}: {without_job(self.layout)}")
        before = load_job(str(self.layout.job)).job
        now = self._resolved.job
        for key in Job.model_fields:
            old, new = getattr(before, key), getattr(now, key)
            if key in MAY_DIFFER:
                self.changes += () if key in _SAID_ELSEWHERE else tuple(differences(old, new, key))
                continue
            path = getattr(self._resolved, key, None)
            if isinstance(path, Path):
                new = str(path)
            if old != new:
                what = difference(key, old, new, self._in_whole)
                raise InputError(f"{self.shown}: was started with another {what}: resume with the same, or start anew")

    def _in_whole(self, key: str, value: object) -> object:
        """A part of the job with what its trainer fills in, as far as that is known."""
        if key != "config" or not isinstance(value, dict):
            return value
        return with_default_values(self._resolved.job.trainer, value) or value

    def already_over(self, *, after_halt: bool = False) -> tuple[ExitCode, str] | None:
        """Why a run that is resumed has nothing left to do, with the code to end with; None where it has.

        Args:
            after_halt: what a halted run was halted for is mended.
        """
        status = read_status(self.path)
        step = status.step or 0
        if status.state is RunState.FINISHED and step >= self._resolved.job.steps and self._is_saved(step):
            said = f"{self.shown}: has finished its {status.step} steps; it goes on with more of them (--steps)"
            return ExitCode.FINISHED, said
        written = self.layout.policy
        halted = status.state is RunState.HALTED and written.is_file() and not after_halt
        if halted and load_policy(str(written)) == self._resolved.policy:
            return ExitCode.HALTED, self._halted_by(status)
        return None

    def _is_saved(self, step: int) -> bool:
        """Whether a checkpoint of so many steps is on disk: a run has not finished by its log alone."""
        newest = newest_verified(self.layout.checkpoints)
        return newest is not None and newest.step >= step

    def _halted_by(self, status: Status) -> str:
        # The incident that a run is halted in is its last one.
        number = status.incidents
        reason = one_line((status.reason or "")[:_LONGEST_REASON])
        what = f"{self.shown}: was halted by this policy{f' in incident {number}' if number else ''} ({reason})"
        more = f"; supervisor explain {self.shown} {number} tells more" if number else ""
        return f"{what}; once the cause is mended it goes on with --after-halt, or under another one (--policy){more}"

    def prepare(self) -> None:
        """Write `job.yaml` and `policy.yaml`, and where it was started.

        Raises:
            InputError: they cannot be written.
        """
        try:
            dump_job(self._resolved, self.path)
            replace_file(self.layout.policy, resolved_yaml(self._resolved.policy))
            write_place(self.layout)
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
        """Remove what was written for a job that could not take a step, so that the mended one can start."""
        layout = self.layout
        if self.got_on:
            return
        if self._created:
            shutil.rmtree(self.path, ignore_errors=True)
            with contextlib.suppress(OSError):
                for above in self._created[1:]:
                    above.rmdir()
            return
        for folder in (layout.events, layout.heartbeats, layout.checkpoints, layout.incidents, layout.sinks):
            shutil.rmtree(folder, ignore_errors=True)
        for file in (
            layout.job,
            layout.policy,
            layout.place,
            layout.next_batches,
            layout.lock,
            layout.restarts,
            layout.faults,
            layout.quarantine,
            layout.deadly_rows,
        ):
            with contextlib.suppress(OSError):
                file.unlink(missing_ok=True)

    @property
    def got_on(self) -> bool:
        """Whether there is anything that another start would not come to as well."""
        if any(not path.name.startswith("step-00000000") for path in self.layout.checkpoints.glob("step-*")):
            return True
        with contextlib.suppress(OSError), self.layout.rank_events.open("rb") as lines:
            return any(b'"event":"step"' in line for line in lines)
        return False

    @property
    def _has_checkpoints(self) -> bool:
        # A replacement that was killed half-way stands under another name until the store is opened.
        folder = self.layout.checkpoints
        return any(folder.glob("step-*")) or any(folder.glob(".replaced-step-*"))


def without_job(layout: RunLayout) -> str:
    """What a run directory holds that has no `job.yaml`, and what to do."""
    if layout.rank_events.exists():
        return "holds the run of a Guard, without a job: go on in its program with Guard(..., resume=True)"
    return "holds no run (no job.yaml): start one with supervisor run JOB.yaml, without --resume"


def _unusable(shown: str, verb: str, error: OSError) -> InputError:
    return InputError(f"{shown}: cannot be {verb} ({error.strerror}): choose another run directory")
