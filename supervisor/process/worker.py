"""The worker's job: builds the trainer, runs it under the guard, and gives the code that says how it went."""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch

from supervisor.config.origins import refuse
from supervisor.errors import ExitCode, InputError, PolicyMisfit
from supervisor.events.console import ConsoleRenderer
from supervisor.events.safe_console import console_on_stdout
from supervisor.events.step_line import Shown
from supervisor.faults import FaultInjector, load_faults
from supervisor.faults.load import fault_script
from supervisor.faults.strike import FaultMisfit
from supervisor.guard import Guard
from supervisor.process.ending import StopRequest
from supervisor.process.heartbeat import Heartbeat, Phase
from supervisor.process.spec import WorkerSpec
from supervisor.process.trainer_loading import ready_trainer
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
    console = console_on_stdout()
    with ConsoleRenderer(job.steps, console) as renderer:
        with _misfits_told(spec):
            injector = FaultInjector(faults, trainer, run_dir=spec.run_dir) if faults else None
            guard = _guard(spec, trainer, device, _Signs(heartbeat, renderer), injector)
        if injector is not None:
            injector.batches_drawn = lambda: guard.batches_drawn
            injector.flush = guard.flush
            injector.position = lambda: (guard.steps_done, guard.updates_attempted - 1)
        stop.goes_to(guard)
        heartbeat.enter(Phase.TRAINING)
        summary = guard.run(job.steps)
        guard.close()
    # Not before the run: what it imports would delay the first step of a restart.
    from supervisor.report.tables import render_summary

    console.print(render_summary(summary, Path(job.run_dir)))
    return ExitCode[summary.status.name]


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
            Shown(
                step=progress.step,
                loss=progress.loss,
                grad_norm=progress.grad_norm,
                lr=None if progress.lr is None else progress.lr * progress.lr_scale,
                cut=progress.lr_scale != 1.0,
                rung=progress.rung,
                incidents=progress.incidents,
                goodput=progress.goodput,
            )
        )

    def evaluate(self, evaluation: Evaluation) -> Mapping[str, float]:
        """Do an evaluation, which may take its time, announced to the parent."""
        self._heartbeat.enter(Phase.FINISHING)
        return evaluation()


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
