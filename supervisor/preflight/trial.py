"""The first updates of a job under its guard, an evaluation, and the smallest batch of an epoch."""

from __future__ import annotations

import resource
import statistics
import sys
from typing import Any

import torch

from supervisor.clock import Clock
from supervisor.errors import InputError, PolicyHalt, text_of
from supervisor.events.schema import Event, WarningEvent
from supervisor.guard import Guard, StepOutcome
from supervisor.preflight.data_pass import told
from supervisor.preflight.report import StepCheck
from supervisor.record.counters import Progress
from supervisor.record.run_log import Evaluation
from supervisor.records import SignalName
from supervisor.report.raised import mend_of
from supervisor.training.device import batch_to
from supervisor.training.samples import keep_samples, sample_count
from supervisor.training.trainer import Trainer

__all__ = ["Trial", "TrialFailed", "WarningsHeard", "batch_norms", "peak_memory"]

WANTED = 6
"""Updates to be applied: with four canaries a checkpoint then has its full size."""
MOST = 24
"""Updates that are tried: so many that the data spoil are no accident."""
ENOUGH_SECONDS = 60.0
"""After so long two applied updates will do."""
ALIKE = 3
"""So many exceptions in a row, alike on different batches, are the program's fault."""


class TrialFailed(Exception):
    """The job cannot take a step; the text says why, with the line at fault where it is known."""


class WarningsHeard:
    """Hears what a run has to say, and keeps its warnings.

    Attributes:
        messages: the warnings, in order.
    """

    def __init__(self) -> None:
        self.messages: list[str] = []

    def renderer(self, event: Event) -> None:
        """An event was written."""
        if isinstance(event, WarningEvent):
            self.messages.append(event.message)

    def step(self, progress: Progress) -> None:
        """A step was done."""

    def evaluate(self, evaluation: Evaluation) -> object:
        """Do an evaluation."""
        return evaluation()


class Trial:
    """Takes the first updates.

    Args:
        guard: the job's, in a run directory of its own.
        trainer: what it looks after.
        device: where its model is.
        clock: measures the updates.

    Attributes:
        largest_batch: of the batches drawn, the one with the most rows.
    """

    def __init__(self, guard: Guard, trainer: Trainer, device: torch.device, clock: Clock) -> None:
        self.largest_batch: Any = None
        self._guard = guard
        self._trainer = trainer
        self._device = device
        self._clock = clock

    def run(self, steps: int) -> StepCheck:
        """Take updates until enough of them were applied.

        Args:
            steps: where the schedule of the job ends.

        Raises:
            TrialFailed: none was applied.
            InputError: the guard refuses the job.
        """
        seconds: list[float] = []
        raised: list[str] = []
        found = ""
        batches = self._guard.batches(steps + MOST)
        began = started = self._clock.monotonic()
        # Data that come once alone need not last for more than the run.
        for _ in range(min(MOST, steps) if self._once_alone else MOST):
            outcome = self._update(batches, steps)
            self._wait_for_the_device()
            now = self._clock.monotonic()
            if outcome.applied:
                seconds.append(now - started)
                raised.clear()
            else:
                found = _what(outcome)
                raised = [*raised, found] if SignalName.STEP_EXCEPTION in _names(outcome) else []
            started = now
            if len(raised) >= ALIKE and len(set(raised)) == 1:
                break
            if len(seconds) >= WANTED or (len(seconds) >= 2 and now - began > ENOUGH_SECONDS):
                break
        if not seconds:
            raise TrialFailed(f"no update could be applied: {found}")
        median = statistics.median(seconds[1:] or seconds)
        memory, cuda = peak_memory(self._device)
        return StepCheck(
            applied=len(seconds),
            first_seconds=seconds[0],
            seconds=median,
            peak_memory_bytes=memory,
            peak_cuda_bytes=cuda,
            run_seconds=0.0,
        )

    @property
    def drawn(self) -> int:
        """Batches that it has taken from the data."""
        return self._guard.batches_drawn

    @property
    def _once_alone(self) -> bool:
        return self._guard.parts.data.once_alone

    def _update(self, batches: Any, steps: int) -> StepOutcome:
        try:
            batch = next(batches)
        except InputError as error:
            if self._once_alone:
                raise InputError(f"{text_of(error)} (the run needs {steps:,} batches)") from error
            raise
        except Exception as error:
            raise TrialFailed(f"the data raised {_with_mend(error)}") from error
        if (sample_count(batch) or 0) >= (sample_count(self.largest_batch) or 0):
            self.largest_batch = batch
        try:
            return self._guard.step(batch)
        except PolicyHalt as error:
            raise TrialFailed(f"the policy halts in the first updates: {text_of(error)}") from error
        except InputError:
            raise
        except Exception as error:
            raise TrialFailed(_with_mend(error)) from error

    def evaluate(self) -> tuple[float, dict[str, float]] | None:
        """One evaluation: its seconds and its metrics; None where the trainer has none.

        Raises:
            TrialFailed: it raises, or does not give numbers by name.
        """
        evaluation = getattr(self._trainer, "evaluate", None)
        if evaluation is None:
            return None
        modes = [(module, module.training) for module in self._trainer.model.modules()]
        started = self._clock.monotonic()
        try:
            metrics = {str(name): float(value) for name, value in evaluation().items()}
        except Exception as error:
            raise TrialFailed(f"evaluate raises {told(error)}") from error
        finally:
            for module, training in modes:
                module.training = training
        return self._clock.monotonic() - started, metrics

    def refuses(self, rows: int) -> str | None:
        """What the loss raises on a batch of so few rows; None where it takes them, or where none can be cut so."""
        count = sample_count(self.largest_batch)
        if count is None or not 0 < rows < count:
            return None
        try:
            self._trainer.loss(batch_to(keep_samples(self.largest_batch, range(rows)), self._device))
        except Exception as error:  # noqa: BLE001  (whatever the user's loss raises)
            return told(error)
        return None

    def _wait_for_the_device(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)


def batch_norms(model: torch.nn.Module) -> list[str]:
    """Names of the modules that take statistics over the batch, as they stand now: in training mode."""
    kind = torch.nn.modules.batchnorm._BatchNorm
    return [
        name or "the model" for name, module in model.named_modules() if isinstance(module, kind) and module.training
    ]


def peak_memory(device: torch.device) -> tuple[int, int | None]:
    """The largest resident memory of this process so far, and what was allocated on a CUDA device, in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # In bytes on macOS, in kibibytes elsewhere.
    memory = peak if sys.platform == "darwin" else peak * 1024
    return memory, torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None


def _with_mend(error: Exception) -> str:
    mend = mend_of(text_of(error))
    return f"{told(error)}: {mend}" if mend else told(error)


def _names(outcome: StepOutcome) -> set[SignalName]:
    return {signal.name for signal in outcome.signals}


def _what(outcome: StepOutcome) -> str:
    """What was found about an update that was not applied."""
    for signal in outcome.signals:
        if signal.name is SignalName.STEP_EXCEPTION:
            said, where = signal.details.get("exception"), signal.details.get("where")
            return f"{said} ({where})" if where else str(said)
    return ", ".join(signal.name.value for signal in outcome.signals) or "it was discarded"
