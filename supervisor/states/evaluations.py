"""The trainer's evaluation amid the training: when it is due, without a trace, and which state it proves to be best."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from supervisor.checkpoints import BestRule
from supervisor.experiments.no_trace import updates_undone
from supervisor.record.run_log import Evaluation, RunLog
from supervisor.states.on_disk import StatesOnDisk
from supervisor.training.data_position import DataPosition
from supervisor.training.state import Subject

__all__ = ["EvaluationPlan", "Evaluations", "Untouched"]


@dataclass(frozen=True, slots=True)
class EvaluationPlan:
    """What is to be evaluated, and when.

    Attributes:
        evaluate: the user's function; None: nothing is evaluated.
        every_steps: steps between two evaluations; None: only at the end of the run.
        keep_best: which checkpoint is kept as the best one; None: none is.
    """

    evaluate: Evaluation | None = None
    every_steps: int | None = None
    keep_best: BestRule | None = None


@dataclass(frozen=True, slots=True)
class Untouched:
    """A block in which the user's code may do as it likes, and after which everything is what it was, bit for bit.

    Attributes:
        subject: the training objects: parameters, buffers, optimizers, registered state, generators, modes, gradients.
        data: where the data stand; the user may read them too.
        sanitized: gives the number of values the model replaced since the last call; those of the block are dropped.
    """

    subject: Subject
    data: DataPosition
    sanitized: Callable[[], Tensor] | None = None

    @contextlib.contextmanager
    def block(self) -> Iterator[None]:
        """The block; an exception passes through, once everything is put back."""
        with self.data.undisturbed(), updates_undone(self.subject), self._settings_put_back():
            try:
                yield
            finally:
                if self.sanitized is not None:
                    self.sanitized()

    @contextlib.contextmanager
    def _settings_put_back(self) -> Iterator[None]:
        """What no state holds: switches of torch's, and how the parameters are stored and whether they are trained."""
        parameters = [(each, each.data, each.requires_grad) for each in self.subject.names]
        with_gradients, dtype, threads = torch.is_grad_enabled(), torch.get_default_dtype(), torch.get_num_threads()
        try:
            yield
        finally:
            torch.set_grad_enabled(with_gradients)
            torch.set_default_dtype(dtype)
            if torch.get_num_threads() != threads:
                torch.set_num_threads(threads)
            for parameter, stored, trained in parameters:
                if parameter.data_ptr() != stored.data_ptr():
                    # Averaged weights that were lent to the model and not taken back.
                    parameter.data = stored
                parameter.requires_grad_(trained)


class Evaluations:
    """Calls the user's evaluation when it is due, and tells which states are to be kept for it.

    Args:
        plan: what and when.
        untouched: puts everything back.
        run_log: puts the metrics on record.
        disk: the checkpoints; None without a run directory.
        stopping: whether the run is asked to end: an evaluation that is due then is made up for when it goes on.
    """

    def __init__(
        self,
        plan: EvaluationPlan,
        untouched: Untouched,
        run_log: RunLog,
        disk: StatesOnDisk | None,
        stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        self._plan = plan
        self._untouched = untouched
        self._run_log = run_log
        self._disk = disk
        self._stopping = stopping
        self._update: int | None = None
        self._metrics: Mapping[str, float] | None = None
        self._said = False

    def take_due(self) -> Mapping[str, float] | None:
        """Evaluate the present state where that is due; None where it is not, or nothing was measured."""
        if self._due() and not self._stopping():
            return self._take()
        return None

    def of(self, update: int) -> Mapping[str, float] | None:
        """What was measured on the state after so many updates, where it is the one that was evaluated last."""
        return self._metrics if self._update == update else None

    def best(self, metrics: Mapping[str, float] | None) -> bool:
        """Whether a state with these metrics is the best so far, so that it needs a checkpoint."""
        return metrics is not None and self._disk is not None and self._disk.best.beaten_by(metrics)

    def catch_up(self) -> None:
        """Evaluate the state of the checkpoint that a run goes on from, where it was due and not done."""
        update = self._run_log.ledger.counters.update
        disk = self._disk
        if disk is not None and self._due() and disk.holds(update) and not disk.best.knows(update):
            self._note(self._take())

    def at_the_end(self) -> None:
        """Evaluate the finished training, unless its last step was evaluated already."""
        if self._plan.evaluate is None:
            return
        update = self._run_log.ledger.counters.update
        self._note(self._metrics if self._update == update else self._take())

    def _due(self) -> bool:
        step, every = self._run_log.ledger.counters.step, self._plan.every_steps
        return self._plan.evaluate is not None and every is not None and step > 0 and step % every == 0

    def _take(self) -> Mapping[str, float] | None:
        evaluate = self._plan.evaluate
        if evaluate is None:
            return None

        def untouched() -> object:
            with self._untouched.block():
                return evaluate()

        self._metrics = self._run_log.evaluate(untouched)
        self._update = self._run_log.ledger.counters.update
        self._say_where_not_compared()
        return self._metrics

    def _note(self, metrics: Mapping[str, float] | None) -> None:
        update = self._run_log.ledger.counters.update
        if metrics is not None and self._disk is not None and not self._disk.best.knows(update):
            self._disk.measured(update, metrics)

    def _say_where_not_compared(self) -> None:
        rule, metrics = self._plan.keep_best, self._metrics
        if rule is None or metrics is None or self._said or rule.value(metrics) is not None:
            return
        self._said = True
        if rule.metric in metrics:
            why = f"{rule.metric} is {metrics[rule.metric]}"
        else:
            why = f"evaluate gives no {rule.metric} (it gives {', '.join([*metrics][:8]) or 'nothing'})"
        counters = self._run_log.ledger.counters
        what = "a state without a finite value is never kept as the best one"
        self._run_log.log.warn(f"keep_best: {why}: {what}", counters.step, self._run_log.ledger.last_update)
