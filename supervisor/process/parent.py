"""The parent: keeps one worker running until the run has ended, within the restart budget."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType

import tenacity

from supervisor.clock import Clock, SystemClock
from supervisor.errors import ExitCode, InputError
from supervisor.events.console import ConsoleRenderer
from supervisor.events.reading_file import said_of_rows
from supervisor.events.safe_console import console_on_stdout
from supervisor.events.schema import ExitClassification, WarningEvent, WorkerRestartingEvent
from supervisor.events.stderr import say
from supervisor.events.writer import EventLog
from supervisor.job import ResolvedJob
from supervisor.process.budget import RestartBudget
from supervisor.process.deadly_rows import DeadlyRows
from supervisor.process.ending import ALSO_STOPPING, stopping_held_back, stopping_signals
from supervisor.process.exits import WorkerEnd, write_process_incident
from supervisor.process.leftovers import adopt_orphans
from supervisor.process.run_directory import RunDirectory, run_lock
from supervisor.process.run_display import RunDisplay, display_on_terminal
from supervisor.process.same_death import SameDeaths
from supervisor.process.sinks_process import anything_untold, sinks_beside
from supervisor.process.sinks_spec import SinksSpec
from supervisor.process.spec import WorkerSpec
from supervisor.process.worker_process import WorkerProcess
from supervisor.saved import newest_verified
from supervisor.streams import tell

__all__ = ["Parent"]

PAUSE_STEP_SECONDS = 0.1
NOT_AGAIN = "it is not called again in this run; the training is not touched by that"

DEADLY = "was being read as the worker ended, and as another one did"
LEFT_OUT = "is not read any more (deadly_rows.jsonl in the run directory)"

MENDED = "once the cause is mended, --resume --after-halt goes on with a fresh budget"


class Parent:
    """Runs a job in worker processes and outlives whatever they do.

    Args:
        resolved: the job.
        resume: go on with the run that its run directory holds.
        auto_resume: go on with it, or start it where it has not begun.
        after_halt: go on with a halted run too, and with a fresh restart budget: somebody has mended the cause.
        clock: stamps the events and measures the pauses.

    Raises:
        InputError: the run directory does not fit.
    """

    def __init__(
        self,
        resolved: ResolvedJob,
        *,
        resume: bool = False,
        auto_resume: bool = False,
        after_halt: bool = False,
        clock: Clock | None = None,
    ) -> None:
        self._resolved = resolved
        self._settings = resolved.policy.restart
        self._clock = clock or SystemClock()
        self._directory = RunDirectory(resolved)
        # What the sinks lack is told before anything is written.
        self._sinks = SinksSpec.of(resolved, self._clock.now())
        self._resume = self._directory.begun if auto_resume else resume
        self._after_halt = after_halt
        if self._resume:
            self._directory.open_again()
        else:
            self._directory.open_new(leftovers=auto_resume)
        self._worker: WorkerProcess | None = None
        self._display: RunDisplay | None = None
        self._stop_signals: list[int] = []
        self._evaluate = True
        self._rows = DeadlyRows(self._directory.layout.deadly_rows, enabled=resolved.policy.diagnose.quarantine)

    def run(self) -> ExitCode:
        """Start a worker, and another one when it dies, until the run has ended or the budget is spent."""
        directory = self._directory
        adopt_orphans()
        with run_lock(directory.path, directory.shown):
            over = directory.already_over(after_halt=self._after_halt) if self._resume else None
            if over is not None:
                tell(over[1], "stdout")
                self._tell_sinks_the_rest()
                return over[0]
            run_id = directory.run_id()
            directory.prepare()
            budget = RestartBudget(directory.layout.restarts, self._settings)
            if self._after_halt:
                budget.begin_anew()
            self._display = display_on_terminal(
                directory.layout, directory.shown, self._clock, lambda: bool(self._stop_signals)
            )
            voices = [] if self._display is not None else [ConsoleRenderer(None, console_on_stdout(), self._clock)]
            log = EventLog(directory.layout.parent_events, run_id, None, self._clock, voices)
            shown = self._display or contextlib.nullcontext()
            sinks = sinks_beside(self._sinks, run_id, log, self._impatient)
            with log, self._signals_passed_on(), shown, sinks:
                if budget.spent(self._now()):
                    # A resume does not buy the run more restarts: it waits until old failures leave the window.
                    return self._give_up(
                        f"the restart budget is spent already: {budget.failures(self._now())} failures within "
                        f"{self._settings.window_seconds:g} s: {MENDED}, or resume later",
                        log,
                    )
                end, why = self._supervise(run_id, budget, log)
                if why is not None:
                    self._give_up(why, log)
                    if end.restartable:
                        return ExitCode.RESTARTS_SPENT
            if end.classification is ExitClassification.BAD_INPUT and not self._resume:
                directory.leave_no_trace()
            elif not directory.layout.job.exists():
                # Somebody has removed the directory meanwhile: what was written since is to be gone on with.
                with contextlib.suppress(InputError):
                    directory.prepare()
        return self._stopped_without_its_end() if end.code is None else end.code

    def _tell_sinks_the_rest(self) -> None:
        """Of a run that is over: what its sinks could not be told by its end."""
        if self._sinks is None or not anything_untold(self._sinks):
            return
        run_id = self._directory.run_id()
        voices = [ConsoleRenderer(None, console_on_stdout(), self._clock)]
        log = EventLog(self._directory.layout.parent_events, run_id, None, self._clock, voices)
        with log, self._signals_passed_on(), sinks_beside(self._sinks, run_id, log, self._impatient):
            pass

    def _stopped_without_its_end(self) -> ExitCode:
        """The code of a run that was asked to stop and whose worker did not come to write its last state."""
        newest = newest_verified(self._directory.layout.checkpoints)
        if newest is None:
            what = "ended at once, and there is no checkpoint to go on from: start it anew"
        else:
            what = f"ended at once: --resume goes on from checkpoints/{newest.path.name}; what came after it is lost"
        say(what)
        return ExitCode.UNSAVED

    def _supervise(self, run_id: str, budget: RestartBudget, log: EventLog) -> tuple[WorkerEnd, str | None]:
        """Start workers until one has ended the run; the last end, and why there is no other where it died."""
        deaths = SameDeaths(self._resume)
        initial, longest = self._settings.backoff_initial_seconds, self._settings.backoff_max_seconds
        backoff = tenacity.wait_exponential(initial) + tenacity.wait_random(0, initial)
        state = tenacity.RetryCallState(tenacity.Retrying(), None, (), {})
        while True:
            end = self._work(run_id, budget, log)
            if not end.restartable or self._stop_signals:
                return end, None
            if end.evaluating and self._evaluate:
                # The training stands: a worker that begins where it ended has it to say so, and nothing else to do.
                self._evaluate = False
                log.emit(WarningEvent(message=f"the trainer's evaluate ended the worker ({end.how}): {NOT_AGAIN}"))
                continue
            row = self._rows.judge(end)
            if row is not None:
                deaths.begin_anew()
                log.emit(WarningEvent(message=f"row {row} of the data set {DEADLY} ({end.how}): it {LEFT_OUT}"))
            same = None if row is not None else deaths.judge(end, got_on=self._directory.got_on)
            if same is not None and same[0] is ExitCode.BAD_INPUT:
                code = ExitCode.BAD_INPUT
                return WorkerEnd(code, ExitClassification.BAD_INPUT, code=code), same[1]
            if same is not None:
                return end, same[1]
            if budget.spent(self._now()):
                return end, self._what_was_tried(end, budget)
            # Failures far apart are separate incidents: each begins with the shortest pause.
            state.attempt_number = max(1, budget.failures(self._now()))
            pause = min(backoff(state), longest)
            log.emit(WorkerRestartingEvent(seconds=pause))
            self._pause(pause)

    def _work(self, run_id: str, budget: RestartBudget, log: EventLog) -> WorkerEnd:
        """One worker from start to end."""
        if self._stop_signals:
            saved = newest_verified(self._directory.layout.checkpoints) is not None
            code = ExitCode.INTERRUPTED if saved else None
            return WorkerEnd(ExitCode.INTERRUPTED, ExitClassification.INTERRUPTED, code=code)
        going_on = self._directory.begun
        if not going_on:
            self._directory.forget_unstarted()
        spec = self._spec(run_id, going_on)
        restarts = budget.failures(self._now())
        with stopping_held_back():
            worker = self._worker = WorkerProcess(
                spec, self._settings, log, self._clock, self._display, restarts=restarts
            )
            # One that came before there was anyone to pass it on to. One that comes meanwhile is held back, or it would
            # be passed on here and by its handler: the second request of a user who has sent one.
            for number in self._stop_signals:
                worker.stop(number)
        end = worker.wait()
        self._worker = None
        if end.restartable and not self._stop_signals:
            budget.fail(self._now())
            write_process_incident(self._directory.layout, end, worker.stacks, self._clock.now(), life=log.life or None)
        return end

    def _spec(self, run_id: str, going_on: bool) -> WorkerSpec:
        if not going_on:
            return WorkerSpec.of(
                self._resolved,
                run_id=run_id,
                resume=False,
                evaluate=self._evaluate,
                one_by_one=self._rows.suspects,
            )
        # Said by the first worker alone.
        changes, self._directory.changes = self._directory.changes, ()
        # Each is told of the halt: one that dies before it has taken it back leaves that to the next.
        return WorkerSpec.of(
            self._resolved,
            run_id=run_id,
            resume=True,
            evaluate=self._evaluate,
            after_halt=self._after_halt,
            changes=changes,
            one_by_one=self._rows.suspects,
        )

    def _give_up(self, why: str, log: EventLog) -> ExitCode:
        log.emit(WarningEvent(message=why, spoken=False))
        say(why)
        return ExitCode.RESTARTS_SPENT

    def _what_was_tried(self, end: WorkerEnd, budget: RestartBudget) -> str:
        failures, allowed = budget.failures(self._now()), self._settings.max_restarts
        why = f"; last: {end.reason.splitlines()[-1]}" if end.reason else ""
        why += f"; {said_of_rows(end.rows)}" if end.rows else ""
        return (
            f"the restart budget is spent: the worker died {failures} times within "
            f"{self._settings.window_seconds:g} s ({allowed} restarts are allowed), last by {end.how}{why}; {MENDED}"
        )

    def _pause(self, seconds: float) -> None:
        """Wait, but not longer than a request to stop takes to come."""
        deadline = self._clock.monotonic() + seconds
        while not self._stop_signals and (left := deadline - self._clock.monotonic()) > 0:
            self._clock.sleep(min(left, PAUSE_STEP_SECONDS))

    def _impatient(self) -> bool:
        """Whether somebody has asked twice; a batch system may, and means nothing by it."""
        return sum(number not in ALSO_STOPPING for number in self._stop_signals) > 1

    def _now(self) -> float:
        return self._clock.now().timestamp()

    @contextlib.contextmanager
    def _signals_passed_on(self) -> Iterator[None]:
        def pass_on(number: int, frame: FrameType | None) -> None:
            self._stop_signals.append(number)
            if self._worker is not None:
                self._worker.stop(number)

        def continued(number: int, frame: FrameType | None) -> None:
            if self._display is not None:
                self._display.continued()
            if self._worker is not None:
                self._worker.go_on()

        def stopped(number: int, frame: FrameType | None) -> None:
            if self._display is not None:
                self._display.stop(number)
                signal.signal(number, stopped)

        before = {number: signal.signal(number, pass_on) for number in stopping_signals()}
        if self._display is not None and signal.getsignal(signal.SIGTSTP) is signal.SIG_DFL:
            before[signal.SIGTSTP] = signal.signal(signal.SIGTSTP, stopped)
        before[signal.SIGCONT] = signal.signal(signal.SIGCONT, continued)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
