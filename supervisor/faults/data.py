"""Faults in the data: bad samples in some batches, bad rows in the data set."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from supervisor.faults.model import BatchFault, Fault, InfBatch, NanSample, OutlierBatch
from supervisor.faults.strike import FaultMisfit
from supervisor.training.passed_on import PassedOn
from supervisor.training.tree import clone, tensors_in

__all__ = ["SpoiledData"]


class SpoiledData:
    """The trainer's data with the script's bad batches and rows; what else they can do, they still can.

    Args:
        data: the trainer's data; its data set is replaced in place where the script names rows.
        faults: the script.
        drawn: gives the number of batches drawn so far, which is that of the batch in hand.

    Raises:
        FaultMisfit: rows are named, and the data have no data set with such rows.
    """

    def __init__(self, data: Any, faults: Sequence[Fault], drawn: Callable[[], int]) -> None:
        self._bad: set[tuple[int, int]] = set()
        self._met: set[tuple[int, int, int | None]] = set()
        self._data = data
        self._batch_faults = [(index, fault) for index, fault in enumerate(faults) if isinstance(fault, BatchFault)]
        self._row_faults = [(index, fault) for index, fault in enumerate(faults) if isinstance(fault, NanSample)]
        # What a factor has made of the samples: finite values, which only themselves tell from sound ones.
        self._outliers: dict[tuple[int, int], list[Tensor]] = {}
        self._drawn = drawn
        if self._row_faults:
            _check_rows(data, self._row_faults)
            # Past the loader's own check: it forbids another data set, for it would be of another length.
            rows = frozenset(row for _, fault in self._row_faults for row in fault.rows)
            vars(data)["dataset"] = _SpoiledRows(rows, data.dataset)

    def meets(self, index: int, number: int, update: int | None, batch: Any) -> bool:
        """Whether a fault has spoilt a batch, asked for the first time in this update.

        Args:
            index: the fault's index in the script.
            number: number of the batch.
            update: the attempted update, None where nobody tells.
            batch: the batch as it came to the loss: samples in quarantine are no longer in it.
        """
        # A batch that comes again strikes again; the same update may be run several times, to diagnose it.
        met = (index, number, update)
        if (index, number) not in self._bad or met in self._met or not self._shows((index, number), batch):
            return False
        self._met.add(met)
        return True

    def _shows(self, fault_at: tuple[int, int], batch: Any) -> bool:
        """Whether values that the fault wrote are still there: samples that are left out are not."""
        outliers = self._outliers.get(fault_at)
        if outliers is None:
            return not all(bool(tensor.isfinite().all()) for tensor in _floating(batch))
        return _hold([tensor.cpu() for tensor in _floating(batch) if tensor.dim()], outliers)

    def __iter__(self) -> Iterator[Any]:
        # Begun now and not at the first batch: a cursor that goes back sets the generators just before this call.
        return PassedOn(iter(self._data), self._spoiled)

    def _spoiled(self, batch: Any) -> Any:
        number = self._drawn()
        if self._row_faults and not all(bool(tensor.isfinite().all()) for tensor in _floating(batch)):
            # The loader hands on values without row numbers: of several row faults the first is named.
            self._bad.add((self._row_faults[0][0], number))
        return self._with_batch_faults(batch, number)

    def _with_batch_faults(self, batch: Any, number: int) -> Any:
        bad = [(index, fault) for index, fault in self._batch_faults if fault.covers(index, number)]
        if not bad:
            return batch
        batch = clone(batch)
        for index, fault in bad:
            for tensor in _floating(batch):
                values = tensor[: fault.samples] if tensor.dim() else tensor
                if isinstance(fault, OutlierBatch):
                    values.mul_(fault.factor)
                else:
                    values.fill_(math.inf if isinstance(fault, InfBatch) else math.nan)
                self._bad.add((index, number))
        for index, fault in bad:
            if isinstance(fault, OutlierBatch):
                written = [tensor[: fault.samples].clone() for tensor in _floating(batch) if tensor.dim()]
                self._outliers[index, number] = written
        return batch

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


def _check_rows(data: Any, faults: list[tuple[int, NanSample]]) -> None:
    dataset = getattr(data, "dataset", None)
    for index, fault in faults:
        if dataset is None or not hasattr(dataset, "__getitem__"):
            raise FaultMisfit("nan_sample: the trainer's data have no data set with rows: use nan_batch").of(index)
        if max(fault.rows) >= len(dataset):
            raise FaultMisfit(f"{max(fault.rows)}: write indices below {len(dataset)}", "rows").of(index)


def _floating(tree: Any) -> list[Tensor]:
    return [tensor for tensor in tensors_in(tree) if tensor.is_floating_point() and tensor.numel()]


def _hold(tensors: list[Tensor], samples: list[Tensor]) -> bool:
    """Whether one of the samples is in a batch: the same values in each of its tensors, in the same place."""
    if [tensor.shape[1:] for tensor in tensors] != [values.shape[1:] for values in samples]:
        return True
    return not tensors or any(_at(tensors, each) for each in zip(*samples, strict=False))


def _at(tensors: list[Tensor], sample: tuple[Tensor, ...]) -> bool:
    rows = min(map(len, tensors))
    same = [
        (tensor[:rows] == values).reshape(rows, -1).all(dim=1) for tensor, values in zip(tensors, sample, strict=True)
    ]
    return bool(torch.stack(same).all(dim=0).any())


def _all_spoiled(item: Any) -> Any:
    spoiled = clone(item)
    for tensor in _floating(spoiled):
        tensor.fill_(math.nan)
    return spoiled
