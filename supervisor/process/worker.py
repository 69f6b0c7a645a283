"""The worker's job: builds the trainer, runs it under the guard, and gives the code that says how it went."""

from __future__ import annotations

import contextlib
import functools
import os
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from supervisor.config.origins import refuse
from supervisor.errors import ExitCode, InputError, PolicyMisfit
from supervisor.events.console import ConsoleRenderer
from supervisor.faults import FaultInjector, load_faults
from supervisor.faults.load import fault_script
from supervisor.faults.strike import FaultMisfit
from supervisor.guard import Guard
from supervisor.process.ending import StopRequest
from supervisor.process.heartbeat import Heartbeat, Phase
from supervisor.process.spec import WorkerSpec
from supervisor.process.trainer_loading import ready_trainer
from supervisor.process.trainer_misfits import evaluation_misfits, schedule_too_short
from supervisor.record.counters import Progress
from supervisor.record.run_log import Evaluation
from supervisor.training.device import batch_to, choose_device
from supervisor.training.trainer import Stateful, Trainer

__all__ = ["run_job"]


def run_job(spec: WorkerSpec, stop: StopRequest, heartbeat: Heartbeat) -> int:
    """Build the trainer and run it under the guard.

    Returns:
        The exit code.

    Raises:
        InputError: the trainer, its config, the faults, the device or the run directory is wrong.
    """
    job = spec.job
    try:
        device = choose_device(job.device)
    except InputError as error:
        raise InputError(f"{spec.origins.place(('device',)).text}: {error}") from error
    faults = load_faults(spec.faults, spec.origins)
    trainer = ready_trainer(job, spec.origins, device)
    refuse(evaluation_misfits(job, trainer, spec.origins))
    console = Console(highlight=False)
    with ConsoleRenderer(job.steps, console) as renderer:
        with _misfits_told(spec):
            injector = FaultInjector(faults, trainer, run_dir=spec.run_dir) if faults else None
            guard = _guard(spec, trainer, device, _Signs(heartbeat, renderer), injector)
        if injector is not None:
            injector.batches_drawn = lambda: guard.batches_drawn
            injector.flush = guard.flush
            injector.position = lambda: (guard.steps_done, guard.updates_attempted - 1)
        if spec.resume and (longer := schedule_too_short(spec.layout, job.steps, type(trainer))) is not None:
            guard.parts.log.warn(longer)
        stop.goes_to(guard)
        heartbeat.enter(Phase.TRAINING)
        summary = guard.run(job.steps)
        guard.close()
    # Not before the run: what it imports would delay the first step of a restart.
    from supervisor.report.tables import render_summary

    with _output_may_fail():
        console.print(render_summary(summary, Path(job.run_dir)))
        console.file.flush()
    return ExitCode[summary.status.name]


@contextlib.contextmanager
def _output_may_fail() -> Iterator[None]:
    """A closed pipe or a full disk behind the standard output is no failure of the run, which is done and saved."""
    try:
        yield
    except (OSError, SystemExit):  # Rich answers a closed pipe with SystemExit
        # What is left in the buffer would fail again as the interpreter ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextlib.contextmanager
def _misfits_told(spec: WorkerSpec) -> Iterator[None]:
    """Put the line of the fault or of the policy before what does not fit the trainer."""
    try:
        yield
    except FaultMisfit as error:
        refuse([fault_script(spec.faults or [], spec.origins).origins.problem(error.path, error.what)])
    except PolicyMisfit as error:
        inline = ("policy",) if spec.policy_origins.name == spec.origins.name else ()
        refuse([spec.policy_origins.problem(error.path, error.what, prefix=inline)])


class _Signs:
    """The signs of life of a worker: a beat for the parent, a bar for a person."""

    def __init__(self, heartbeat: Heartbeat, renderer: ConsoleRenderer) -> None:
        self.renderer = renderer
        self._heartbeat = heartbeat
        self._last = time.monotonic()
        self._slowest = 0.0

    def step(self, progress: Progress) -> None:
        """A step was done."""
        now = time.monotonic()
        self._slowest, self._last = max(self._slowest, now - self._last), now
        self._heartbeat.beat(progress.step, self._slowest)
        self.renderer.advance(
            progress.step, progress.loss, progress.grad_norm, progress.lr_scale, progress.rung, progress.incidents
        )

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


def _guard(
    spec: WorkerSpec, trainer: Trainer, device: torch.device, signs: _Signs, injector: FaultInjector | None
) -> Guard:
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
        quarantine=spec.quarantine,
        seed=spec.job.seed,
        evaluate=None if evaluate is None else partial(signs.evaluate, evaluate),
        evaluate_every_steps=spec.job.evaluate_every_steps,
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
