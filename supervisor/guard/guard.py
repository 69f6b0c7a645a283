"""`Guard`: supervision for any PyTorch loop, and the loop itself for those who have none."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from supervisor.clock import Clock, SystemClock
from supervisor.errors import InputError, PolicyHalt
from supervisor.events.quarantine_file import read_quarantine
from supervisor.events.schema import RunStatus, RunSummary
from supervisor.events.writer import Listener
from supervisor.guard.arguments import check_numbers, check_objects, check_training
from supervisor.guard.canary import Canaries
from supervisor.guard.diagnosing import Diagnostician
from supervisor.guard.good_states import GoodStates
from supervisor.guard.incidents import IncidentBook
from supervisor.guard.keeper import StateKeeper
from supervisor.guard.outcome import StepOutcome
from supervisor.guard.quarantine import Quarantine
from supervisor.guard.recovery import Recovery, TrainerReset
from supervisor.guard.reporter import Evaluation, ProgressListener, Reporter
from supervisor.guard.run_files import RunFiles
from supervisor.guard.supervised_step import SupervisedStep
from supervisor.guard.update import UpdateRunner
from supervisor.policy import RecoveryPolicy, load_policy
from supervisor.signals import Detectors
from supervisor.training.data_cursor import DataCursor
from supervisor.training.inspection import StateCheck
from supervisor.training.names import parameter_names
from supervisor.training.optimizers import chained
from supervisor.training.schedule import Interval, Schedule
from supervisor.training.state import Subject
from supervisor.training.trainer import Stateful

__all__ = ["Guard"]


class Guard:
    """Watches every step of a training and recovers it by the policy's ladder.

    Two forms: `run(steps)` is the whole loop, and `for batch in guard.batches(steps): guard.step(batch)` is one's
    own. A healthy run is bit for bit what it would be without the guard.

    Args:
        model: the model, on its device.
        optimizer: its optimizer (one whose `step` needs no closure), or several that share no parameter, in a list:
            they step one after the other. Parameters may be added to it while it trains (see `Subject`).
        loss: batch -> scalar tensor with a graph; may be called again to diagnose.
        data: iterable of batches, begun again when it ends; needed by `run` and `batches`.
        scheduler: stepped once per applied step, or per epoch (`scheduler_interval`); or several, in a list.
        scaler: gradient scaler.
        scheduler_interval: `"step"` or `"epoch"`.
        accumulate: batches an update; `batches` then yields, and `step` takes, that many in a tuple. Where some are
            bad by themselves, the signal names their positions (`batches`), and the others are drawn again.
        extra_state: objects with `state_dict`/`load_state_dict` that a step changes, by name.
        policy: path, mapping, `RecoveryPolicy`, or None for the built-in default.
        run_dir: where events, checkpoints and incidents go; None: memory only, nothing is written.
        quarantine: a list of samples to leave out: the `quarantine.jsonl` of an earlier run.
        resume: go on from the newest verified checkpoint in `run_dir`.
        on_gradients: called with the total gradient norm between inspection and update.
        sanitized: gives the number of values the model replaced since the last call, as a 0-dimensional tensor.
        seed: of the guard's own draws (re-initialisation); the global generators are never touched.
        evaluate: gives metrics at the end of the run; the random generators are put back after it.
        reset_module: `(name, module, generator) -> bool`, the trainer's own way to redraw a module.
        log_every_steps: steps between two `step` events.
        record_observations: keep what every update measured in `observations.jsonl`, for `supervisor replay`.
        listeners: called with every event.
        on_progress: called after each step with a `Progress`.
        clock: time, for durations and stamps.
        run_id: the run's name in the events; None: a new one, or the resumed run's.
        about: further fields of `run_started`.

    Raises:
        InputError: an argument, the policy or the run directory is wrong, a parameter is not finite, or the model or
            the optimizer is of a kind that cannot be supervised (docs/loops.md).
    """

    def __init__(
        self,
        *,
        model: nn.Module,
        optimizer: Optimizer | Sequence[Optimizer],
        loss: Callable[[Any], Tensor],
        data: Iterable[Any] | None = None,
        scheduler: LRScheduler | Sequence[LRScheduler] | None = None,
        scaler: GradScaler | None = None,
        scheduler_interval: Interval = "step",
        accumulate: int = 1,
        extra_state: Mapping[str, Stateful] | None = None,
        policy: str | Path | Mapping[str, Any] | RecoveryPolicy | None = None,
        run_dir: str | Path | None = None,
        resume: bool = False,
        quarantine: str | Path | None = None,
        on_gradients: Callable[[float], object] | None = None,
        sanitized: Callable[[], Tensor] | None = None,
        seed: int | None = None,
        evaluate: Evaluation | None = None,
        reset_module: TrainerReset | None = None,
        log_every_steps: int = 20,
        record_observations: bool = False,
        listeners: Iterable[Listener] = (),
        on_progress: ProgressListener | None = None,
        clock: Clock | None = None,
        run_id: str | None = None,
        about: Mapping[str, Any] | None = None,
    ) -> None:
        check_objects(model, loss, data, scaler, extra_state)
        check_numbers(scheduler_interval, accumulate, log_every_steps, seed)
        self.policy = load_policy(policy)
        known_bad = () if quarantine is None else read_quarantine(quarantine)
        clock = clock or SystemClock()
        together = chained(optimizer)
        check_training(model, together, self.policy)
        names = parameter_names(model, together)
        schedule = Schedule(scheduler, scheduler_interval)
        extra: dict[str, Stateful] = dict(extra_state or {})
        if schedule.by_epoch:
            extra["supervisor.schedule"] = schedule
        subject = Subject(model, together, schedule.scheduler, scaler, extra, names)
        self._check = StateCheck(model, together, extra, names)
        bad = self._check.bad_parameters()
        if bad:
            raise InputError(f"model: {', '.join(bad)} not finite before the first step: mend the initial weights")
        self._cursor = None if data is None else DataCursor(data)
        self._accumulate = accumulate
        panel = Detectors(self.policy)
        runner = UpdateRunner(
            subject,
            schedule,
            loss,
            self._check,
            self.policy,
            accumulate=accumulate,
            on_gradients=on_gradients,
            sanitized=sanitized,
        )
        files = RunFiles(
            run_dir, self.policy, record_observations, resume=resume, run_id=run_id, clock=clock, listeners=listeners
        )
        self._log = files.log
        states = GoodStates(self.policy, files.store, files.log)
        book = IncidentBook(files.log, files.incidents, clock)
        left_out = Quarantine(self.policy.diagnose.quarantine, self._cursor, files.quarantine, files.log)
        common = (self.policy, subject, self._cursor)
        keeper = StateKeeper(*common, self._check, panel, book, left_out, states, files.store, files.log, clock)
        canaries = Canaries(self.policy, subject, runner, files.log)
        rooms = (self.policy, subject, self._check, states, book, left_out, canaries, keeper, clock)
        recovery = Recovery(*rooms, seed=seed or 0, reset_module=reset_module)
        self._keeper = keeper
        every = log_every_steps
        self._reporter = Reporter(
            files.log, keeper, book, log_every_steps=every, on_progress=on_progress, observations=files.observations
        )
        self._evaluate = evaluate
        log = None if run_dir is None else str(run_dir)
        self._about = {"log": log, "accumulate": accumulate, **(about or {})}
        self._status: RunStatus | None = None
        self._stop = False
        self._announced = resume
        if resume:
            keeper.resume()
            self._status = RunStatus.HALTED if keeper.halted else None
        left_out.begin(known_bad)
        diagnostician = Diagnostician(self.policy, subject, runner, panel, files.incidents, accumulate, clock)
        report = self._reporter
        self._step = SupervisedStep(
            *common, schedule, runner, panel, states, keeper, recovery, book, report, diagnostician, files.log, clock
        )

    def run(self, steps: int) -> RunSummary:
        """Train until the schedule reaches `steps`, the policy halts, or a stop is requested.

        Raises:
            InputError: there are no batches, or `steps` is not a positive number.
        """
        # A halt is not an error here: the summary says it.
        with contextlib.suppress(PolicyHalt):
            for batch in self.batches(steps):
                self.step(batch)
        return self.summary()

    def batches(self, steps: int) -> Iterator[Any]:
        """The batches of a run, each to be handed to `step`, until the schedule reaches `steps`.

        Then the run is finished: last checkpoint, metrics. A batch given last and not used (a `break`) comes again.

        Raises:
            InputError: there are no batches, or `steps` is not a positive number.
        """
        if self._cursor is None:
            raise InputError("data: Guard needs `data` to give batches: pass an iterable of batches")
        if not isinstance(steps, int) or steps < 1:
            raise InputError(f"steps: {steps}: write a whole number, 1 or more")
        if self._status is RunStatus.FINISHED and steps > self.steps_done:
            # The end of the schedule was moved on.
            self._status = None
        self._announce(steps)
        self._step.put_back_unused()
        while self.steps_done < steps and self._status is None and not self._stop:
            drawn = tuple(self._cursor.next() for _ in range(self._accumulate))
            self._step.follow_epochs()
            self._step.drawn = drawn
            yield drawn[0] if self._accumulate == 1 else drawn
        if self._status is None:
            self.finish(RunStatus.FINISHED if self.steps_done >= steps else RunStatus.INTERRUPTED)

    def step(self, batch: Any) -> StepOutcome:
        """One supervised update.

        Raises:
            PolicyHalt: the ladder ended; the model is in the newest good state.
            InputError: `batch` is not a tuple or list of `accumulate` batches, where that is more than one.
        """
        if self._status is RunStatus.HALTED:
            raise PolicyHalt("halted by its policy: start a new run, or resume this one under another policy")
        if self._accumulate > 1 and not (isinstance(batch, (tuple, list)) and len(batch) == self._accumulate):
            raise InputError(f"step: with accumulate={self._accumulate} it takes a tuple of as many batches")
        # A step beyond the end: the run goes on, and ends anew.
        self._status = None
        self._announce(None)
        try:
            return self._step.run(batch, self._accumulate)
        except PolicyHalt:
            self._status = RunStatus.HALTED
            raise

    @property
    def steps_done(self) -> int:
        """Position in the schedule: steps used up so far."""
        return self._keeper.counters.step

    @property
    def batches_drawn(self) -> int:
        """Position in the data: batches drawn so far, over all epochs."""
        return self._keeper.batch_number

    @property
    def updates_attempted(self) -> int:
        """Updates attempted so far, the one in progress included; never goes back."""
        return self._keeper.counters.update

    @property
    def status(self) -> RunStatus | None:
        """How the run ended, None while it goes on."""
        return self._status

    def request_stop(self) -> None:
        """Let the loop end after the step in progress; safe in a signal handler."""
        self._stop = True

    def finish(self, status: RunStatus = RunStatus.FINISHED) -> RunSummary:
        """End the run in good order: last checkpoint, metrics, `run_finished`. `run` and `batches` call it."""
        if self._status is None:
            self._announce(None)
            self._step.put_back_unused()
            self._keeper.save()
            if status is RunStatus.FINISHED and self._evaluate is not None:
                self._reporter.evaluate(self._evaluate)
            self._status = status
            self._keeper.flush()
            self._reporter.finished(status)
        return self.summary()

    def summary(self) -> RunSummary:
        """What the run came to; one that is still going reads as `finished` at this point."""
        return self._reporter.summary(self._status or RunStatus.FINISHED)

    def flush(self) -> None:
        """Wait until every checkpoint begun is on disk."""
        self._keeper.flush()

    def close(self) -> None:
        """Wait for what is being written, and close the event log."""
        self._keeper.flush()
        self._log.close()

    def _announce(self, steps: int | None) -> None:
        """Put the start of the run on record and take the initial state, once."""
        self._step.end = steps or self._step.end
        if self._announced or self._status is not None:
            return
        self._announced = True
        self._reporter.started(steps, self._about, self._check.exempt_buffers)
        self._keeper.begin()
