"""Writes faults into a trainer: rows and batches in its data, weights and moments before a step, gradients in it."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Iterator, Sequence
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor
from torch.utils.hooks import RemovableHandle

from supervisor.errors import InputError
from supervisor.faults.model import (
    Fault,
    NanBatch,
    NanGradient,
    NanOptimizerState,
    NanSample,
    NanWeight,
    OverflowGradient,
    ParameterFault,
)
from supervisor.training.trainer import Trainer
from supervisor.training.tree import clone, tensors

__all__ = ["FaultInjector"]

OVERFLOWING = 1e30


class FaultInjector:
    """Stands between a trainer and the guard.

    Args:
        faults: the script.
        trainer: its data set is changed in place where the script names rows.

    Raises:
        InputError: a glob matches no parameter, or rows are named and the data have no data set.

    Attributes:
        data: the trainer's data with the script's bad batches.
        batches_drawn: gives the number of batches drawn so far; to be set before the first batch.
    """

    def __init__(self, faults: Sequence[Fault], trainer: Trainer) -> None:
        self._trainer = trainer
        self._parameters = dict(trainer.model.named_parameters())
        self._waiting = {index: fault for index, fault in enumerate(faults) if not isinstance(fault, NanSample)}
        self._handles: list[RemovableHandle] = []
        for fault in faults:
            if isinstance(fault, ParameterFault):
                self._hit(fault)
        rows = frozenset(row for fault in faults if isinstance(fault, NanSample) for row in fault.rows)
        if rows:
            _spoil_rows(trainer.data, rows)
        self.batches_drawn: Callable[[], int] = lambda: 0
        bad = [fault for fault in faults if isinstance(fault, NanBatch)]
        self.data: Any = _SpoiledData(trainer.data, bad, lambda: self.batches_drawn())

    def loss(self, batch: Any) -> Tensor:
        """The trainer's loss, after what the script has for this batch was done."""
        number = self.batches_drawn() - 1
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        for index, fault in list(self._waiting.items()):
            if not isinstance(fault, (NanBatch, NanSample)) and fault.at_batch == number and self._inject(fault):
                del self._waiting[index]
        return self._trainer.loss(batch)

    def _inject(self, fault: Fault) -> bool:
        """Do it; False where there is nothing to write to yet."""
        match fault:
            case NanWeight():
                _poison(self._hit(fault)[1].data)
            case NanOptimizerState():
                state = self._trainer.optimizer.state.get(self._hit(fault)[1], {})
                if not isinstance(state.get(fault.state_key), Tensor):
                    return False
                _poison(state[fault.state_key])
            case NanGradient():
                self._on_gradient(self._hit(fault)[1], _poison)
            case OverflowGradient():
                for parameter in self._parameters.values():
                    self._on_gradient(parameter, _blow_up)
        return True

    def _on_gradient(self, parameter: Tensor, change: Callable[[Tensor], None]) -> None:
        def hook(accumulated: Tensor) -> None:
            if accumulated.grad is not None:
                change(accumulated.grad)

        if parameter.requires_grad:
            self._handles.append(parameter.register_post_accumulate_grad_hook(hook))  # type: ignore[no-untyped-call]

    def _hit(self, fault: ParameterFault) -> tuple[str, Tensor]:
        pattern = fault.parameter.lower()
        for name, parameter in self._parameters.items():
            if fnmatchcase(name.lower(), pattern):
                return name, parameter
        nearest = difflib.get_close_matches(fault.parameter, self._parameters, n=3, cutoff=0.3)
        names = ", ".join(nearest or list(self._parameters)[:3])
        raise InputError(f"faults: parameter: {fault.parameter!r} matches no parameter: write one of: {names}")


class _SpoiledData:
    """The trainer's data; what they can do beside giving batches, they still can."""

    def __init__(self, data: Any, faults: Sequence[NanBatch], drawn: Callable[[], int]) -> None:
        self._data = data
        self._faults = faults
        self._drawn = drawn

    def __iter__(self) -> Iterator[Any]:
        # The data begin now, not at the first batch: who goes back in them has put the generators right by then.
        return self._spoiled(iter(self._data))

    def _spoiled(self, batches: Iterator[Any]) -> Iterator[Any]:
        for batch in batches:
            number = self._drawn()
            bad = any(fault.at_batch <= number < fault.at_batch + fault.batches for fault in self._faults)
            yield _first_sample_spoiled(batch) if bad else batch

    def __len__(self) -> int:
        return len(self._data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._data, name)


class _SpoiledRows(torch.utils.data.Dataset[Any]):
    """A data set some of whose rows are NaN."""

    def __init__(self, rows: frozenset[int], dataset: Any) -> None:
        self._rows = rows
        self._dataset = dataset
        if hasattr(dataset, "__getitems__"):
            # Loaders ask for a whole batch where the data set offers it.
            self.__getitems__ = self._several

    def __getitem__(self, index: int) -> Any:
        item = self._dataset[index]
        return _all_spoiled(item) if index in self._rows else item

    def __len__(self) -> int:
        return len(self._dataset)

    def _several(self, indices: Sequence[int]) -> Any:
        batch = self._dataset.__getitems__(indices)
        bad = [position for position, index in enumerate(indices) if index in self._rows]
        if not bad:
            return batch
        if isinstance(batch, list):
            return [_all_spoiled(item) if position in bad else item for position, item in enumerate(batch)]
        spoiled = clone(batch)
        for tensor in _floating(spoiled):
            tensor[bad] = math.nan
        return spoiled


def _spoil_rows(data: Any, rows: frozenset[int]) -> None:
    dataset = getattr(data, "dataset", None)
    if dataset is None or not hasattr(dataset, "__getitem__"):
        raise InputError("faults: nan_sample: the trainer's data have no data set with rows: use nan_batch")
    if max(rows) >= len(dataset):
        raise InputError(f"faults: nan_sample: rows: {max(rows)}: write indices below {len(dataset)}")
    # Past the loader's own check: it forbids another data set, for it would be of another length.
    vars(data)["dataset"] = _SpoiledRows(rows, dataset)


def _floating(tree: Any) -> list[Tensor]:
    return [tensor for _, tensor in tensors(tree) if tensor.is_floating_point() and tensor.numel()]


def _first_sample_spoiled(batch: Any) -> Any:
    spoiled = clone(batch)
    for tensor in _floating(spoiled):
        tensor[:1].fill_(math.nan) if tensor.dim() else tensor.fill_(math.nan)
    return spoiled


def _all_spoiled(item: Any) -> Any:
    spoiled = clone(item)
    for tensor in _floating(spoiled):
        tensor.fill_(math.nan)
    return spoiled


@torch.no_grad()
def _poison(tensor: Tensor) -> None:
    tensor.view(-1)[0] = math.nan


@torch.no_grad()
def _blow_up(gradient: Tensor) -> None:
    largest = gradient.abs().max()
    gradient.mul_(torch.where(largest > 0, OVERFLOWING / largest, torch.ones_like(largest)))
