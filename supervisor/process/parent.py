"""The parent: prepares the run directory, starts the worker, passes signals on, and says how it ended."""

from __future__ import annotations

import contextlib
import shutil
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from supervisor.clock import Clock, SystemClock
from supervisor.errors import ExitCode, InputError
from supervisor.events.schema import ExitClassification, WorkerExitedEvent, WorkerStartedEvent
from supervisor.events.writer import EventLog
from supervisor.job import ResolvedJob, dump_job
from supervisor.policy import resolved_yaml
from supervisor.process.spec import OF_ITS_OWN_ACCORD, WorkerSpec

__all__ = ["Parent", "classify"]

_STOPPING = (signal.SIGTERM, signal.SIGINT)

_ORDERLY: dict[int, ExitClassification] = {
    ExitCode.FINISHED: ExitClassification.FINISHED,
    ExitCode.BAD_INPUT: ExitClassification.BAD_INPUT,
    ExitCode.HALTED: ExitClassification.HALTED,
    ExitCode.INTERRUPTED: ExitClassification.INTERRUPTED,
}


class Parent:
    """Runs a job in a worker process and outlives whatever the worker does.

    Args:
        resolved: the job.
        clock: stamps the events.

    Raises:
        InputError: the run directory is not empty, or cannot be written.
    """

    def __init__(self, resolved: ResolvedJob, clock: Clock | None = None) -> None:
        self._job = resolved
        self._directory = resolved.run_dir
        self._clock = clock or SystemClock()
        self._run_id = uuid.uuid4().hex[:12]
        _refuse_unless_empty(self._directory, resolved.job.run_dir)
        # What this run adds to the disk: the run directory, and folders above it that are not there yet.
        self._created = [path for path in (self._directory, *self._directory.parents) if not path.exists()]

    def run(self) -> ExitCode:
        """Start the worker and wait for it.

        Returns:
            The exit code of the whole run. A worker that dies is reported and ends it.
        """
        self._prepare()
        with EventLog(self._directory / "events" / "supervisor.jsonl", self._run_id, None, self._clock) as log:
            returncode = self._work(log)
        orderly = _ORDERLY.get(returncode - OF_ITS_OWN_ACCORD)
        if orderly is ExitClassification.BAD_INPUT:
            self._leave_no_trace()
        if orderly is None:
            sys.stderr.write(f"supervisor: the worker died ({_how(returncode)}); its record is in {self._shown}\n")
            return ExitCode.RESTARTS_SPENT
        return ExitCode(returncode - OF_ITS_OWN_ACCORD)

    @property
    def _shown(self) -> str:
        return self._job.job.run_dir

    def _prepare(self) -> None:
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            dump_job(self._job, self._directory)
            (self._directory / "policy.yaml").write_text(resolved_yaml(self._job.policy), encoding="utf-8")
        except OSError as error:
            problem = f"{self._shown}: cannot be written ({error.strerror}): choose another run directory"
            raise InputError(problem) from error

    def _work(self, log: EventLog) -> int:
        spec = WorkerSpec.of(self._job, run_id=self._run_id, resume=False)
        # A process group of its own: Ctrl-C reaches the parent alone, which passes it on once.
        command = [sys.executable, "-m", "supervisor.process.worker"]
        signal.pthread_sigmask(signal.SIG_BLOCK, _STOPPING)
        with subprocess.Popen(command, stdin=subprocess.PIPE, process_group=0) as worker:
            log.emit(WorkerStartedEvent(pid=worker.pid))
            with _signals_passed_on(worker):
                signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOPPING)
                if worker.stdin is not None:
                    with contextlib.suppress(BrokenPipeError), worker.stdin:
                        worker.stdin.write(spec.model_dump_json().encode())
                returncode = worker.wait()
        classification = classify(returncode)
        meant = returncode if classification is ExitClassification.EXCEPTION else returncode - OF_ITS_OWN_ACCORD
        event = WorkerExitedEvent(
            pid=worker.pid,
            exit_code=None if returncode < 0 else meant,
            signal=signal.Signals(-returncode).name if returncode < 0 else None,
            classification=classification,
        )
        log.emit(event)
        return returncode

    def _leave_no_trace(self) -> None:
        """Remove what was prepared for a job that could not start, so that the mended one can."""
        begun = self._directory / "events" / "rank0.jsonl"
        if (begun.exists() and begun.stat().st_size) or (self._directory / "checkpoints").exists():
            return
        if self._created:
            shutil.rmtree(self._directory)
            with contextlib.suppress(OSError):
                for above in self._created[1:]:
                    above.rmdir()
            return
        shutil.rmtree(self._directory / "events", ignore_errors=True)
        for name in ("job.yaml", "policy.yaml"):
            (self._directory / name).unlink(missing_ok=True)


def classify(returncode: int) -> ExitClassification:
    """Why a worker is gone, from what `wait` returned: negative for a signal.

    A code that the worker did not mark as its own is the training's, which ended the process: no good end, even 0.
    """
    if returncode < 0:
        return ExitClassification.KILLED
    return _ORDERLY.get(returncode - OF_ITS_OWN_ACCORD, ExitClassification.EXCEPTION)


def _refuse_unless_empty(directory: Path, shown: str) -> None:
    try:
        held = next(directory.iterdir(), None)
    except FileNotFoundError:
        return
    except NotADirectoryError:
        raise InputError(f"{shown}: is a file, or lies in one: choose another run directory") from None
    except OSError as error:
        raise InputError(f"{shown}: cannot be read ({error.strerror}): choose another run directory") from error
    if held is not None:
        raise InputError(f"{shown}: holds something already ({held.name}): write another --run-dir")


@contextlib.contextmanager
def _signals_passed_on(worker: subprocess.Popen[bytes]) -> Iterator[None]:
    """SIGTERM and SIGINT let the worker finish its step and write a checkpoint; a second one ends it at once."""
    received = 0

    def pass_on(number: int, frame: FrameType | None) -> None:
        nonlocal received
        received += 1
        worker.send_signal(number if received == 1 else signal.SIGKILL)

    before = {number: signal.signal(number, pass_on) for number in _STOPPING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _how(returncode: int) -> str:
    return signal.Signals(-returncode).name if returncode < 0 else f"exit code {returncode}"
