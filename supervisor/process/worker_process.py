"""One worker process, from its start to its end: watched, stopped when asked, ended when it stands still."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from pathlib import Path

from supervisor.clock import Clock
from supervisor.errors import ExitCode
from supervisor.events.reading_file import new_reading_file, rows_being_read
from supervisor.events.schema import WarningEvent, WorkerExitedEvent, WorkerStalledEvent, WorkerStartedEvent
from supervisor.events.writer import EventLog
from supervisor.policy import RestartSettings
from supervisor.process.ending import ALSO_STOPPING, end_with_this_process, new_mark, stopping_held_back
from supervisor.process.exits import WorkerEnd, classify, crashed, dead_loader_processes, oom_kills
from supervisor.process.heartbeat import Heartbeat, Phase, StallWatch
from supervisor.process.leftovers import Leftovers
from supervisor.process.run_display import RunDisplay
from supervisor.process.shadowing import command
from supervisor.process.spec import WorkerSpec
from supervisor.process.stacks import ask_for_stacks
from supervisor.tracebacks import crash_in

__all__ = ["WorkerProcess"]

COMMAND = command("supervisor.process.worker_entry")
"""What a worker is started as."""

POLL_SECONDS = 0.1
GRACE_SECONDS = 5.0


class WorkerProcess:
    """Starts a worker in a process group of its own.

    Args:
        spec: what it is to do.
        settings: its timeouts.
        log: hears of its start, its stall and its end.
        clock: for the timeouts.
        display: shows the run, and what the worker prints; None: it prints where this process does.
        restarts: restarts spent so far, for the record.
    """

    def __init__(
        self,
        spec: WorkerSpec,
        settings: RestartSettings,
        log: EventLog,
        clock: Clock,
        display: RunDisplay | None = None,
        *,
        restarts: int,
    ) -> None:
        self._settings = settings
        self._display = display
        self._continued = False
        self._log = log
        self._clock = clock
        self._layout = spec.layout
        self._heartbeat = Heartbeat(self._layout.heartbeat, create=True, clock=clock)
        # Notes are worth having, and not worth a run.
        with contextlib.suppress(OSError):
            new_reading_file(self._layout.reading)
        self._old = self._forget_the_last_one()
        self._stalled: str | None = None
        self._stop_requests = 0
        self._leftovers = Leftovers()
        self._oom_kills = oom_kills()
        # Blocked until the worker can handle them: one that comes while its interpreter starts is kept for it.
        with stopping_held_back():
            mark = new_mark()
            environment = {**os.environ, mark: "1"}
            out, err = (None, None) if display is None else display.worker_streams
            self._process = subprocess.Popen(
                COMMAND, stdin=subprocess.PIPE, stdout=out, stderr=err, process_group=0, env=environment
            )
            self._watchman = end_with_this_process(self._process.pid, mark)
        self._log.emit(WorkerStartedEvent(pid=self._process.pid, restarts=restarts, steps=spec.job.steps))
        self._hand_over(spec if display is None else spec.model_copy(update={"shown_by_parent": True}))

    def go_on(self) -> None:
        """This process was stopped and goes on: what a worker was silent for meanwhile is no stall of its own.

        Safe in a signal handler.
        """
        self._continued = True

    def stop(self, number: int) -> None:
        """Ask it to finish its step and to write a checkpoint; the second time, end it at once.

        Safe in a signal handler. What a batch system or a closed terminal sends is no sign of impatience: it may come
        twice, and SIGTERM after it.
        """
        if number in ALSO_STOPPING:
            number = signal.SIGTERM
        else:
            self._stop_requests += 1
            if self._stop_requests > 1:
                self._kill_group()
                return
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)

    def wait(self) -> WorkerEnd:
        """Watch it until it is gone, and put on record why."""
        watch = StallWatch(self._settings, self._clock.monotonic())
        while not self._gone(POLL_SECONDS):
            self._leftovers.reap(self._own)
            pulse = self._heartbeat.read()
            silence = watch.silent_for(pulse, self._clock.monotonic())
            if self._continued:
                # Asked after the time was, which may have passed just before.
                self._continued = False
                watch = StallWatch(self._settings, self._clock.monotonic())
            elif silence is not None and pulse.phase is Phase.ENDED:
                self._end_lingering(silence)
            elif silence is not None:
                self._end_stalled(silence, watch.key(pulse))
        # Helpers of its own (loader workers) do not outlive it.
        self._kill_group()
        if self._watchman is not None:
            self._watchman.kill()
            self._watchman.wait()
        for process in (self._process, self._watchman):
            if process is not None and process.stdin is not None:
                with contextlib.suppress(OSError):
                    process.stdin.close()
        ended = self._leftovers.end(self._own, self._process.pid)
        if ended:
            self._log.emit(WarningEvent(message=f"left behind by the worker, and ended with it: {', '.join(ended)}"))
        if self._display is not None:
            self._display.worker_gone()
        pulse = self._heartbeat.read()
        self._heartbeat.close()
        code = ExitCode(pulse.code) if pulse.phase is Phase.ENDED else None
        kind = classify(
            self._process.returncode,
            ended=code,
            stalled=self._stalled is not None,
            oom_killed=oom_kills() > self._oom_kills,
        )
        reason = self._stalled or (self._left(self._layout.last_error) or "").strip() or None
        if reason is None and crashed(self._process.returncode):
            reason = crash_in(self.stacks)
        if code is None and self._stop_requests > 1:
            reason = "ended at once, as was asked by a second request to stop"
        rows = self._rows_at_fault(reason) if code is None else ()
        end = WorkerEnd(self._process.returncode, kind, reason, code, pulse, rows)
        if code is not None and self._process.returncode != code:
            self._log.emit(WarningEvent(message=f"the run had ended ({kind}) before its process did, by {end.how}"))
        event = WorkerExitedEvent(
            pid=self._process.pid,
            exit_code=end.exit_code,
            signal=end.signal,
            classification=kind,
            reason=end.reason,
            rows=end.rows or None,
        )
        self._log.emit(event)
        return end

    @property
    def _own(self) -> set[int]:
        return {each.pid for each in (self._process, self._watchman) if each is not None}

    @property
    def stacks(self) -> str | None:
        """Every thread's Python stack at the moment it was found to stand still, or crashed."""
        return self._left(self._layout.stacks)

    def _forget_the_last_one(self) -> frozenset[Path]:
        """Remove what an earlier worker left; what cannot be removed is not taken for this one's."""
        stay = set()
        for left_over in (self._layout.stacks, self._layout.last_error):
            try:
                left_over.unlink(missing_ok=True)
            except OSError as error:
                stay.add(left_over)
                self._log.warn(f"{left_over} is of an earlier worker and could not be removed ({error.strerror})")
        return frozenset(stay)

    def _left(self, path: Path) -> str | None:
        return None if path in self._old else _text(path)

    def _rows_at_fault(self, reason: str | None) -> tuple[int | str, ...]:
        """Rows that were being read by what ended: a process of the loader, the worker, or what stood still."""
        dead = dead_loader_processes(reason)
        unnamed = not dead and reason is not None and "/multiprocessing/" in reason
        if self._stalled is not None or unnamed:
            # Of a loader's process that was missed by whoever opened what it has shared, nobody knows which it was.
            return rows_being_read(self._layout.reading)
        return rows_being_read(self._layout.reading, dead or [self._process.pid])

    def _hand_over(self, spec: WorkerSpec) -> None:
        # The pipe stays open: when it closes, the worker knows that the parent is gone.
        if self._process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.write(spec.to_line())
                self._process.stdin.flush()

    def _gone(self, seconds: float) -> bool:
        try:
            self._process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def _end_stalled(self, silence: float, key: str) -> None:
        limit = f"restart.{key}"
        self._stalled = f"stood still for {silence:.3g} s: raise {limit} in the policy if it needs longer"
        self._log.emit(WorkerStalledEvent(pid=self._process.pid, seconds=silence, limit=limit))
        ask_for_stacks(self._process.pid, self._layout.stacks, self._gone)
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()
        if not self._gone(GRACE_SECONDS):
            self._kill_group()
            self._process.wait()

    def _end_lingering(self, silence: float) -> None:
        self._log.emit(
            WarningEvent(
                message=f"the run has ended, and its process was still there {silence:.0f} s later: ended. Something "
                "in it does not end by itself: a thread that is no daemon, or a handler at exit"
            )
        )
        self._kill_group()
        self._process.wait()

    def _kill_group(self) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)


def _text(path: Path) -> str | None:
    with contextlib.suppress(OSError):
        return path.read_text(encoding="utf-8", errors="replace") or None
    return None
