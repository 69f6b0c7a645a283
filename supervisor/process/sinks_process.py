"""The process of the sinks as the parent sees it: started beside the run, listened to, ended with it."""

from __future__ import annotations

import contextlib
import math
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from typing import IO, Literal

from supervisor.errors import said_by
from supervisor.events.schema import ExitClassification, SinkFailedEvent, SinkReadyEvent
from supervisor.events.writer import EventLog
from supervisor.process.ending import end_with_this_process, new_mark, stopping_held_back
from supervisor.process.exits import WorkerEnd
from supervisor.process.leftovers import no_leftovers
from supervisor.process.shadowing import command
from supervisor.process.sinks_spec import SinksSpec, SinksWord
from supervisor.run_layout import RunLayout
from supervisor.sinks.place import read_kept
from supervisor.sinks.tail import Tail

__all__ = ["anything_untold", "sinks_beside"]

COMMAND = command("supervisor.process.sinks_entry")
"""What it is started as."""

GRACE_SECONDS = 2.0
"""How long it may take beyond what the sinks may: to say what they were not told, and to end."""

RESTART_SECONDS: tuple[float, ...] = (1.0, 10.0, 60.0)
"""Where it dies it is started again, after these pauses; and no more after the last one."""

POLL_SECONDS = 0.1

END = b"end\n"
NOT_STARTED = "the process of the sinks could not be started"


@contextlib.contextmanager
def sinks_beside(
    spec: SinksSpec | None, run_id: str, log: EventLog, impatient: Callable[[], bool] = lambda: False
) -> Iterator[None]:
    """Have sinks fed as long as the block lasts, and a bounded time longer; without a spec nothing is done.

    Args:
        spec: which sinks, and of which run.
        run_id: that run's name.
        log: hears what they have to say.
        impatient: whether somebody does not want to wait any longer for what they have not handed on yet.
    """
    process = None
    if spec is not None:
        try:
            process = _SinksProcess(spec.model_copy(update={"run_id": run_id}), log)
        except Exception as error:  # noqa: BLE001  (whatever it is, it is not worth a run)
            log.emit(SinkFailedEvent(sink="all", error=f"{NOT_STARTED} ({said_by(error)})"))
    try:
        yield
    finally:
        if process is not None:
            process.end(impatient)


def anything_untold(spec: SinksSpec | None) -> bool:
    """Whether there are lines in the log that a sink was not told: of a run that is over, its last ones."""
    if spec is None:
        return False
    layout = RunLayout(spec.run_dir)
    with contextlib.suppress(OSError):
        return any(Tail(layout, read_kept(layout.sink_place(name)).places).left() for name in spec.sinks.on())
    return False


class _SinksProcess:
    def __init__(self, spec: SinksSpec, log: EventLog) -> None:
        self._spec = spec
        self._log = log
        self._patience_seconds = spec.sinks.flush_seconds + GRACE_SECONDS
        self._over = threading.Event()
        self._killed: str | None = None
        self._pausing = False
        # Held while one is started, and while the run is said to be over.
        self._starting = threading.Lock()
        self._ours = contextlib.ExitStack()
        self._start("wb")
        self._listener = threading.Thread(target=self._listen, name="sinks", daemon=True)
        self._listener.start()

    def end(self, impatient: Callable[[], bool]) -> None:
        """Let them finish, and kill what is left of them when their time is up, or somebody's patience is."""
        with self._starting:
            self._over.set()
            self._write(END)
        self._killed = self._waited_for(impatient)
        self._clear_away()
        self._listener.join(GRACE_SECONDS)
        if self._killed:
            self._log.emit(SinkFailedEvent(sink="all", error=f"the process of the sinks was {self._killed}"))

    def _start(self, mode: Literal["wb", "ab"]) -> None:
        ours = self._ours.enter_context(no_leftovers())
        mark = new_mark()
        with _output(RunLayout(self._spec.run_dir), mode) as output, stopping_held_back():
            self._process = subprocess.Popen(
                COMMAND,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
                process_group=0,
                env={**os.environ, mark: "1", "OMP_NUM_THREADS": "1"},
            )
            ours(self._process.pid)
            self._watchman = end_with_this_process(self._process.pid, mark)
            if self._watchman is not None:
                ours(self._watchman.pid)
        self._write(self._spec.to_line())

    def _clear_away(self) -> None:
        """Kill what is left of it, and what its packages have started."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        if self._watchman is not None:
            # It kills by the mark too what a package has started in a session of its own, as it loses this process.
            if self._watchman.stdin is not None:
                self._watchman.stdin.close()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._watchman.wait(GRACE_SECONDS)
            self._watchman.kill()
            self._watchman.wait()
        self._ours.close()

    def _waited_for(self, impatient: Callable[[], bool]) -> str | None:
        """None once it is gone by itself; else what is to be said of how it was ended."""
        for _ in range(math.ceil(self._patience_seconds / POLL_SECONDS)):
            if impatient() and self._process.poll() is None:
                return "ended at once, as was asked; a resume goes on from there"
            with self._starting:
                gone = not self._pausing and self._process.poll() is not None
            if gone:
                return None
            # It ends with the process, but where something that a package has started holds the pipe.
            self._listener.join(POLL_SECONDS)
        return f"not done {self._patience_seconds:g} s after the run: it was ended"

    def _listen(self) -> None:
        """Put on record what it says; and that it is gone, where nobody has ended it: it is started again then."""
        for pause in (*RESTART_SECONDS, None):
            self._put_on_record()
            code = self._process.wait()
            if self._over.is_set() and (code == 0 or self._killed):
                return
            again = "" if self._over.is_set() or pause is None else f"it is started again in {pause:g} s, else "
            how = WorkerEnd(code, ExitClassification.KILLED).how
            error = f"the process of the sinks has ended by {how}; {again}a resume starts it again (sinks/output.txt)"
            self._log.emit(SinkFailedEvent(sink="all", error=error))
            if again == "" or not self._started_again(pause or 0.0):
                return

    def _started_again(self, pause: float) -> bool:
        """Whether there is another one, after a pause; at once where the run is over, for what was not told yet."""
        self._pausing = True
        self._over.wait(pause)
        with self._starting:
            self._pausing = False
            self._clear_away()
            for pipe in (self._process.stdin, self._process.stdout):
                with contextlib.suppress(OSError):
                    pipe.close()  # type: ignore[union-attr]
            try:
                self._start("ab")
            except Exception as error:  # noqa: BLE001  (as at first)
                self._log.emit(SinkFailedEvent(sink="all", error=f"{NOT_STARTED} ({said_by(error)})"))
                return False
            if self._over.is_set():
                self._write(END)
            return True

    def _put_on_record(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with contextlib.suppress(ValueError):
                word = SinksWord.model_validate_json(line)
                if word.kind == "ready":
                    self._log.emit(SinkReadyEvent(sink=word.sink, address=word.text))
                else:
                    self._log.emit(SinkFailedEvent(sink=word.sink, error=word.text))

    def _write(self, data: bytes) -> None:
        assert self._process.stdin is not None
        # It may be gone, and where there was no other one to be started, its pipe is closed.
        with contextlib.suppress(OSError, ValueError):
            self._process.stdin.write(data)
            self._process.stdin.flush()


def _output(layout: RunLayout, mode: Literal["wb", "ab"]) -> contextlib.AbstractContextManager[IO[bytes] | int]:
    """Where the packages print to: a file of the run, or nowhere where it cannot be written."""
    with contextlib.suppress(OSError):
        layout.sinks.mkdir(parents=True, exist_ok=True)
        return layout.sinks_output.open(mode)
    return contextlib.nullcontext(subprocess.DEVNULL)
