"""The worker's job: builds the trainer, runs it under the guard, and gives the code that says how it went."""

from __future__ import annotations

import contextlib
import functools
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import torch

from supervisor.config.origins import refuse
from supervisor.errors import ExitCode, InputError, PolicyMisfit, traceback_of
from supervisor.events.console import ConsoleRenderer
from supervisor.events.reading_file import ReadingNote
from supervisor.events.safe_console import console_on_stdout
from supervisor.events.schema import Event, SettingsChangedEvent
from supervisor.events.writer import Listener
from supervisor.faults import FaultInjector, load_faults
from supervisor.faults.load import fault_script
from supervisor.faults.strike import FaultMisfit
from supervisor.guard import Guard
from supervisor.process.ending import StopRequest
from supervisor.process.heartbeat import Heartbeat, Phase
from supervisor.process.shadowing import refuse_shadows
from supervisor.process.spec import WorkerSpec
from supervisor.process.trainer_loading import ready_trainer
from supervisor.process.trainer_misfits import evaluation_misfits, schedule_too_short
from supervisor.record.counters import Progress
from supervisor.record.run_log import Evaluation
from supervisor.streams import tell
from supervisor.training.device import batch_to, choose_device
from supervisor.training.fetching import tell_what_rows_raise
from supervisor.training.loader_processes import tell_deaths_when_drawing
from supervisor.training.noted_reading import note_reading
from supervisor.training.trainer import Stateful, Trainer
from supervisor.update import LossError

__all__ = ["RunSigns", "device_of", "guard_of_job", "misfits_told", "run_job"]

NEXT_BATCH_SECONDS = 5.0
"""How long the end of a run waits for one more batch from its data."""


def run_job(spec: WorkerSpec, stop: StopRequest, heartbeat: Heartbeat) -> int:
    """Build the trainer and run it under the guard.

    Returns:
        The exit code.

    Raises:
        InputError: the trainer, its config, the faults, the device or the run directory is wrong.
    """
    job = spec.job
    device = device_of(spec)
    tell_deaths_when_drawing()
    tell_what_rows_raise()
    note_reading(partial(ReadingNote, spec.layout.reading), spec.one_by_one)
    faults = load_faults(spec.faults, spec.origins)
    # Before the working directory comes onto the import path.
    refuse_shadows(Path.cwd())
    trainer = ready_trainer(job, spec.origins, device)
    # It may have put handlers of its own in the place of ours.
    stop.stay()
    refuse(evaluation_misfits(job, trainer, spec.origins))
    console = console_on_stdout()
    with _Untold() if spec.shown_by_parent else ConsoleRenderer(job.steps, console) as renderer:
        with misfits_told(spec):
            injector = FaultInjector(faults, trainer, run_dir=spec.run_dir) if faults else None
            guard = guard_of_job(spec, trainer, device, _Signs(heartbeat, renderer, stop), injector)
        if spec.changes:
            guard.parts.log.emit(SettingsChangedEvent(changes=spec.changes))
        if injector is not None:
            injector.batches_drawn = lambda: guard.batches_drawn
            injector.flush = guard.flush
            injector.life = lambda: guard.parts.log.life
            injector.position = lambda: (guard.steps_done, guard.updates_attempted - 1)
        has_schedule = spec.resume and getattr(trainer, "scheduler", None) is not None
        if has_schedule and (longer := schedule_too_short(spec.layout, job.steps, type(trainer))) is not None:
            guard.parts.log.warn(longer)
        stop.goes_to(guard)
        heartbeat.enter(Phase.TRAINING)
        with _program_told(guard):
            summary = guard.run(job.steps)
        code = ExitCode[summary.status.name]
        heartbeat.end(code)
        _note_next_batch(guard)
        guard.close()
    if spec.shown_by_parent:
        return code
    # Not before the run: what it imports would delay the first step of a restart.
    from supervisor.report.tables import render_summary

    console.print(render_summary(summary, Path(job.run_dir)))
    return code


def _note_next_batch(guard: Guard) -> None:
    """Beside the main thread and not for long: all is saved, and data that stand still must not hold the end up."""
    noting = threading.Thread(target=guard.note_next_batch, name="next-batch", daemon=True)
    noting.start()
    noting.join(NEXT_BATCH_SECONDS)


def device_of(spec: WorkerSpec) -> torch.device:
    """The device of a job.

    Raises:
        InputError: this machine has none of that kind.
    """
    try:
        return choose_device(spec.job.device)
    except InputError as error:
        raise InputError(f"{spec.origins.place(('device',)).text}: {error}") from error


@contextlib.contextmanager
def misfits_told(spec: WorkerSpec) -> Iterator[None]:
    """Put the line of the fault or of the policy before what does not fit the trainer."""
    try:
        yield
    except FaultMisfit as error:
        refuse([fault_script(spec.faults or [], spec.origins).origins.problem(error.path, error.what)])
    except PolicyMisfit as error:
        inline = ("policy",) if spec.policy_origins.name == spec.origins.name else ()
        refuse([spec.policy_origins.problem(error.path, error.what, prefix=inline)])


@contextlib.contextmanager
def _program_told(guard: Guard) -> Iterator[None]:
    """An exception that no restart helps against, for the program raises it at every batch, is told as a mistake."""
    try:
        yield
    except Exception as error:
        if guard.program_at_fault is None:
            raise
        guard.close()
        if not isinstance(error, LossError):
            # A loss that is wrong was raised by no line of the user's.
            tell(traceback_of(error).rstrip("\n"))
        raise InputError(guard.program_at_fault) from error


class RunSigns(Protocol):
    """What hears how a run goes."""

    @property
    def renderer(self) -> Listener:
        """Called with every event."""

    def step(self, progress: Progress) -> None:
        """A step was done."""

    def evaluate(self, evaluation: Evaluation) -> object:
        """Do an evaluation."""


class _Untold:
    """Stands in for the console where the parent shows the run."""

    def __call__(self, event: Event) -> None:
        """Say nothing."""

    def advance(self, goodput: float | None) -> None:
        """Take no note of a step."""

    def __enter__(self) -> _Untold:
        return self

    def __exit__(self, *error: object) -> None:
        """Nothing is left to say."""


class _Signs:
    """The signs of life of a worker: a beat for the parent, lines for a person, an ear for requests to stop."""

    def __init__(self, heartbeat: Heartbeat, renderer: ConsoleRenderer | _Untold, stop: StopRequest) -> None:
        self.renderer = renderer
        self._stop = stop
        self._heartbeat = heartbeat
        self._last = time.monotonic()
        self._slowest = 0.0

    def step(self, progress: Progress) -> None:
        """A step was done."""
        self._stop.stay()
        now = time.monotonic()
        self._slowest, self._last = max(self._slowest, now - self._last), now
        self._heartbeat.beat(progress.step, self._slowest)
        self.renderer.advance(progress.goodput)

    def evaluate(self, evaluation: Evaluation) -> object:
        """Do an evaluation, which may take its time, announced to the parent; the next step's beat ends that.

        Its time is no step's, or a stall of a later step would be waited for the longer.
        """
        began = time.monotonic()
        self._heartbeat.enter(Phase.FINISHING)
        try:
            return evaluation()
        finally:
            self._last += time.monotonic() - began


def _evaluation(spec: WorkerSpec, evaluate: Evaluation | None, signs: RunSigns) -> Evaluation | None:
    """The trainer's evaluation, announced; one that has ended a worker is not called again, and gives nothing."""
    if evaluate is None:
        return None
    return partial(signs.evaluate, evaluate) if spec.evaluate else dict


def guard_of_job(
    spec: WorkerSpec, trainer: Trainer, device: torch.device, signs: RunSigns, injector: FaultInjector | None
) -> Guard:
    """The guard that a job is run under.

    Args:
        spec: the job.
        trainer: built for it.
        device: where its model is.
        signs: hears how the run goes.
        injector: stands before the trainer's data and loss, None without faults.
    """
    loss = trainer.loss if injector is None else injector.loss

    @functools.wraps(loss)
    def loss_on_device(batch: Any) -> torch.Tensor:
        return loss(batch_to(batch, device))

    evaluate = getattr(trainer, "evaluate", None)
    names = ("scheduler", "scaler", "on_gradients", "sanitized", "reset_module")
    optional: dict[str, Any] = {name: getattr(trainer, name, None) for name in names}
    interval = getattr(trainer, "scheduler_interval", None)
    return Guard(
        model=trainer.model,
        optimizer=trainer.optimizer,
        loss=loss_on_device,
        data=trainer.data if injector is None else injector.data,
        extra_state={"trainer": trainer} if isinstance(trainer, Stateful) else None,
        **optional,
        scheduler_interval="step" if interval is None else interval,
        policy=spec.policy,
        run_dir=spec.run_dir,
        resume=spec.resume,
        after_halt=spec.after_halt,
        quarantine=[path for path in (spec.quarantine, spec.layout.deadly_rows) if path is not None and path.exists()],
        seed=spec.job.seed,
        evaluate=_evaluation(spec, evaluate, signs),
        evaluate_every_steps=spec.job.evaluate_every_steps if spec.evaluate else None,
        keep_best=None if spec.job.keep_best is None else spec.job.keep_best.model_dump(mode="json"),
        log_every_steps=spec.job.log_every_steps,
        record_observations=spec.job.observations,
        listeners=[signs.renderer],
        # The renderer says it all.
        quiet=True,
        on_progress=signs.step,
        run_id=spec.run_id,
        about={
            "seed": spec.job.seed,
            "trainer": spec.job.trainer,
            "device": str(device),
            "policy": spec.policy_origins.name,
            "log": spec.job.run_dir,
        },
    )
