"""The worker: builds the trainer, runs it under the guard, and ends with the code that says how it went.

Started by the parent as `python -m supervisor.process.worker`, with a `WorkerSpec` on its standard input.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from rich.console import Console

from supervisor.errors import ExitCode, InputError
from supervisor.events.console import ConsoleRenderer
from supervisor.events.schema import RunStatus
from supervisor.faults import FaultInjector, load_faults
from supervisor.guard import Guard
from supervisor.guard.counters import Progress
from supervisor.process.spec import OF_ITS_OWN_ACCORD, WorkerSpec
from supervisor.process.trainer_loading import build_trainer, find_trainer
from supervisor.report import render_summary
from supervisor.training.device import batch_to, choose_device, optimizer_to
from supervisor.training.rng import seed_everything
from supervisor.training.trainer import Stateful, Trainer

__all__ = ["main"]

_EXIT = {
    RunStatus.FINISHED: ExitCode.FINISHED,
    RunStatus.HALTED: ExitCode.HALTED,
    RunStatus.INTERRUPTED: ExitCode.INTERRUPTED,
}


def main() -> int:
    """Run the job that stands on the standard input.

    Returns:
        The exit code; anything unexpected is left to raise, with its traceback.
    """
    stop = _StopRequest()
    spec = WorkerSpec.model_validate_json(sys.stdin.buffer.read())
    try:
        return _run(spec, stop)
    except InputError as error:
        sys.stderr.write(f"{error}\n")
        return ExitCode.BAD_INPUT


def _run(spec: WorkerSpec, stop: _StopRequest) -> int:
    job = spec.job
    if job.cpu_threads:
        torch.set_num_threads(job.cpu_threads)
    with _told_at(spec, "device"):
        device = choose_device(job.device)
    faults = load_faults(spec.faults, spec.origins)
    kind = find_trainer(job.trainer, spec.origins)
    seed_everything(job.seed)
    trainer = build_trainer(kind, job.config, job.seed, spec.origins)
    trainer.model.to(device)
    optimizer_to(trainer.optimizer, device)
    console = Console(highlight=False)
    with ConsoleRenderer(job.steps, console) as renderer:
        with _told_at(spec, "faults"):
            injector = FaultInjector(faults, trainer) if faults else None
        guard = _guard(spec, trainer, device, renderer, injector)
        if injector is not None:
            injector.batches_drawn = lambda: guard.batches_drawn
        stop.goes_to(guard)
        summary = guard.run(job.steps)
        guard.close()
    with _output_may_fail():
        console.print(render_summary(summary, Path(spec.shown_run_dir)))
        console.file.flush()
    return _EXIT[summary.status]


@contextlib.contextmanager
def _output_may_fail() -> Iterator[None]:
    """A closed pipe or a full disk behind the standard output is no failure of the run, which is done and saved."""
    try:
        yield
    except (OSError, SystemExit):  # Rich answers a closed pipe with SystemExit
        # What is left in the buffer would fail again as the interpreter ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextlib.contextmanager
def _told_at(spec: WorkerSpec, key: str) -> Iterator[None]:
    """Put the line of the job that `key` stands on before a mistake that only the worker can find."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{spec.origins.place((key,)).text}: {error}") from error


def _guard(
    spec: WorkerSpec,
    trainer: Trainer,
    device: torch.device,
    renderer: ConsoleRenderer,
    injector: FaultInjector | None,
) -> Guard:
    loss = trainer.loss if injector is None else injector.loss

    def loss_on_device(batch: Any) -> torch.Tensor:
        return loss(batch_to(batch, device))

    def show(progress: Progress) -> None:
        renderer.advance(
            progress.step,
            progress.loss,
            progress.grad_norm,
            progress.lr_scale,
            progress.rung,
            progress.incidents,
        )

    return Guard(
        model=trainer.model,
        optimizer=trainer.optimizer,
        loss=loss_on_device,
        data=trainer.data if injector is None else injector.data,
        scheduler=getattr(trainer, "scheduler", None),
        scaler=getattr(trainer, "scaler", None),
        extra_state={"trainer": trainer} if isinstance(trainer, Stateful) else None,
        policy=spec.policy,
        run_dir=spec.run_dir,
        resume=spec.resume,
        on_gradients=getattr(trainer, "on_gradients", None),
        sanitized=getattr(trainer, "sanitized", None),
        seed=spec.job.seed,
        evaluate=getattr(trainer, "evaluate", None),
        reset_module=getattr(trainer, "reset_module", None),
        log_every_steps=spec.job.log_every_steps,
        listeners=[renderer],
        on_progress=show,
        run_id=spec.run_id,
        about={
            "seed": spec.job.seed,
            "trainer": spec.job.trainer,
            "device": str(device),
            "policy": spec.policy_source,
            "log": spec.shown_run_dir,
        },
    )


class _StopRequest:
    """SIGTERM or SIGINT: the run ends after the step in progress, also one that has not begun."""

    def __init__(self) -> None:
        self._received = False
        self._guard: Guard | None = None
        numbers = (signal.SIGTERM, signal.SIGINT)
        for number in numbers:
            signal.signal(number, self._receive)
        # The parent blocked them, so that none is lost while the interpreter starts.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, numbers)

    def goes_to(self, guard: Guard) -> None:
        """Pass the request on to `guard`, at once where it came already."""
        self._guard = guard
        if self._received:
            guard.request_stop()

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self._received = True
        if self._guard is not None:
            self._guard.request_stop()


if __name__ == "__main__":
    raise SystemExit(OF_ITS_OWN_ACCORD + main())
