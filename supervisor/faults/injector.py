"""Writes faults into a trainer: at their batch, on record before they strike, and once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from supervisor.clock import Clock, SystemClock
from supervisor.faults.data import SpoiledData
from supervisor.faults.disk import DiskFaults
from supervisor.faults.model import (
    BatchFault,
    CorruptCheckpoint,
    DiskFull,
    Fault,
    NanSample,
    OverflowGradient,
    ParameterFault,
)
from supervisor.faults.step import StepFaults
from supervisor.faults.strike import FaultJournal, FaultMisfit, FaultRecord, Strike
from supervisor.faults.tensors import TensorFaults
from supervisor.run_layout import RunLayout
from supervisor.training.trainer import Trainer

__all__ = ["FaultInjector"]


class FaultInjector:
    """Stands between a trainer and the guard.

    Bad data are bad whenever they come. Every other fault strikes once at its batch, even when the run goes back:
    a reload, a replay of the step for its diagnosis, or the next process after the worker's death.

    Args:
        faults: the script.
        trainer: its data set is changed in place where the script names rows.
        run_dir: holds the record of what has struck; None: it is kept in memory alone.
        clock: stamps the record.

    Raises:
        FaultMisfit: a glob matches nothing, rows are named and the data have no data set, or a fault of the disk
            has no run directory to strike at.

    Attributes:
        data: the trainer's data with the script's bad batches.
        batches_drawn: gives the number of batches drawn so far; to be set before the first batch.
        position: gives (step, update) of the step in progress, for the record.
        life: gives the number of the worker that this is, for the record too; None where nobody counts.
        flush: waits for the checkpoints that were begun, so that a fault of the disk finds the newest.
    """

    def __init__(
        self, faults: Sequence[Fault], trainer: Trainer, *, run_dir: Path | None = None, clock: Clock | None = None
    ) -> None:
        self.batches_drawn: Callable[[], int] = lambda: 0
        self.position: Callable[[], tuple[int | None, int | None]] = lambda: (None, None)
        self.life: Callable[[], int | None] = lambda: None
        self.flush: Callable[[], None] = lambda: None
        self._faults = tuple(faults)
        self._trainer = trainer
        self._clock = clock or SystemClock()
        self._tensors = TensorFaults(trainer)
        self._step = StepFaults(trainer)
        self._disk = None if run_dir is None else DiskFaults(run_dir)
        for index, fault in enumerate(faults):
            try:
                self._check(fault)
            except FaultMisfit as error:
                raise error.of(index) from None
        self._journal = FaultJournal(None if run_dir is None else RunLayout(run_dir).faults)
        self._spoiled = SpoiledData(trainer.data, faults, lambda: self.batches_drawn())
        self.data: Any = self._spoiled

    def loss(self, batch: Any) -> Tensor:
        """The trainer's loss, after what the script has for this batch was done."""
        number = self.batches_drawn() - 1
        self._tensors.release()
        self._step.release(number)
        if self._disk is not None:
            self._disk.release(number)
        for index, fault in enumerate(self._faults):
            if not self._is_due(index, fault, number, batch):
                continue
            strike = self._prepare(fault, number)
            if strike is not None and self._put_on_record(index, fault, number, strike.target):
                strike.do()
        return self._trainer.loss(batch)

    def _check(self, fault: Fault) -> None:
        match fault:
            case BatchFault() | NanSample() | OverflowGradient():
                return
            case ParameterFault():
                self._tensors.check(fault)
            case CorruptCheckpoint() | DiskFull():
                if self._disk is None:
                    raise FaultMisfit(f"{fault.kind}: there is no run directory to strike at: give one")
            case _:
                self._step.check(fault)

    def _is_due(self, index: int, fault: Fault, number: int, batch: Any) -> bool:
        if isinstance(fault, BatchFault | NanSample):
            return self._spoiled.meets(index, number, self.position()[1], batch)
        return fault.begins_at(index, number) and not self._journal.holds(index, number)

    def _prepare(self, fault: Fault, number: int) -> Strike | None:
        match fault:
            # Bad data were spoilt when they were drawn.
            case BatchFault():
                return Strike(f"samples 0 to {fault.samples - 1}", lambda: None)
            case NanSample():
                return Strike(f"rows {', '.join(map(str, fault.rows))}", lambda: None)
            case ParameterFault() | OverflowGradient():
                return self._tensors.prepare(fault)
            case CorruptCheckpoint() | DiskFull():
                self.flush()
                return None if self._disk is None else self._disk.prepare(fault, number)
            case _:
                return self._step.prepare(fault, number)

    def _put_on_record(self, index: int, fault: Fault, number: int, target: str | None) -> bool:
        step, update = self.position()
        record = FaultRecord(
            fault=index,
            kind=fault.kind,
            batch=number,
            step=step,
            update=update,
            time=self._clock.now(),
            target=target,
            life=self.life(),
            monotonic=self._clock.monotonic(),
        )
        return self._journal.add(record)
