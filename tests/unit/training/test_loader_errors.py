"""What an exception from the data is, on loaders of torch's that really raise, with processes and without."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset
from torchdata.stateful_dataloader import StatefulDataLoader

from supervisor.training.loader_errors import DataFault, fault_of, goes_on, is_dead_loader, loader_error, why_empty


class NoSuchRow(Exception):
    """An exception that torch cannot make anew from its text."""

    def __init__(self, row: int, table: str) -> None:
        super().__init__(f"no row {row} in {table}")


class Rows(Dataset[Tensor]):
    def __init__(self, kind: type[Exception] | None = ValueError, kill: int | None = None) -> None:
        self.kind, self.kill = kind, kill

    def __len__(self) -> int:
        return 16

    def __getitem__(self, index: int) -> Tensor:
        if index == 5:
            if self.kill is not None:
                os.kill(os.getpid(), self.kill)
            if self.kind is NoSuchRow:
                raise NoSuchRow(index, "a table")
            if self.kind is not None:
                raise self.kind("no such row\nsecond line")
        return torch.tensor([float(index)])


class Stream(IterableDataset[Tensor]):
    def __iter__(self) -> Iterator[Tensor]:
        yield from (torch.zeros(1) for _ in range(4))
        raise ValueError("the stream broke")


def never(worker: int) -> None:
    raise OSError("no such mount")


def broken_sampler() -> Iterator[int]:
    yield from range(4)
    raise ValueError("no order")


def failure(data: Iterable[Any]) -> tuple[Iterator[Any], Exception]:
    """The iterator, and the first exception that comes out of it."""
    iterator = iter(data)
    for _ in range(9):
        try:
            next(iterator)
        except StopIteration:
            break
        except Exception as error:  # noqa: BLE001
            return iterator, error
    raise AssertionError("nothing was raised")


LOADERS = {
    "none": lambda rows: DataLoader(rows, 4),
    "processes": lambda rows: DataLoader(rows, 4, num_workers=2),
    "stateful": lambda rows: StatefulDataLoader(rows, 4),
    "stateful processes": lambda rows: StatefulDataLoader(rows, 4, num_workers=2),
}


@pytest.mark.parametrize("loader", LOADERS)
@pytest.mark.parametrize("kind", [ValueError, KeyError, NoSuchRow])
def test_a_row_that_raises_is_a_bad_sample_and_told_as_it_was_raised(loader: str, kind: type[Exception]) -> None:
    iterator, error = failure(LOADERS[loader](Rows(kind)))
    told = loader_error(error, iterator)
    assert told.fault is DataFault.BAD_SAMPLE
    assert told.type == kind.__name__
    assert told.message.startswith(kind.__name__)
    assert "no row 5 in a table" in told.message or "no such row" in told.message
    assert "\n" not in told.message
    assert told.where is not None
    file, _, line = told.where.rpartition(":")
    assert file == __file__
    raised = "raise self.kind(" if kind is not NoSuchRow else "raise NoSuchRow(index"
    assert raised in Path(__file__).read_text(encoding="utf-8").splitlines()[int(line) - 1]
    # It says so by going on.
    assert torch.is_tensor(next(iterator))


def test_a_loader_whose_process_is_killed_is_dead_and_no_sample_is_at_fault() -> None:
    iterator, error = failure(DataLoader(Rows(None, kill=signal.SIGKILL), 4, num_workers=2))
    assert is_dead_loader(error)
    assert fault_of(error, iterator) is DataFault.DEAD_LOADER


def test_one_that_surfaces_elsewhere_is_known_by_what_it_is() -> None:
    """Torch's handler of SIGCHLD raises wherever the program stands, and others may wrap that."""
    _, error = failure(DataLoader(Rows(None, kill=signal.SIGKILL), 4, num_workers=1))
    wrapped = ValueError("the loss could not be computed")
    wrapped.__cause__ = error
    assert is_dead_loader(wrapped)
    assert not is_dead_loader(ValueError("DataLoader worker (pid 7) is killed by signal: Killed"))
    assert not is_dead_loader(FileNotFoundError("no such file"))


@pytest.mark.parametrize(
    "data",
    [
        lambda: DataLoader(Stream(), 2),
        lambda: DataLoader(Stream(), 2, num_workers=1),
        lambda: iter(Stream()),
        lambda: DataLoader(Rows(None), 4, num_workers=2, worker_init_fn=never),
        lambda: DataLoader(Rows(None), 2, sampler=broken_sampler()),  # type: ignore[arg-type]
        lambda: map(Rows().__getitem__, range(9)),
    ],
    ids=["stream", "stream in a process", "generator", "process that cannot begin", "sampler", "other iterator"],
)
def test_what_has_ended_with_it_or_may_have_cannot_go_on(data: Any) -> None:
    iterator, error = failure(data())
    assert not goes_on(iterator, error)
    told = loader_error(error, iterator)
    assert told.fault is DataFault.CANNOT_GO_ON
    assert told.where is not None
    assert told.where.startswith(f"{__file__}:")


class NoRows(Rows):
    def __len__(self) -> int:
        return 0


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ([], r"^data: no batches: give an iterable of at least one batch$"),
        (DataLoader(NoRows(), 4), rf"^{re.escape(__file__)}:\d+: data: no batches: the data set NoRows has no rows"),
        (DataLoader(TensorDataset(torch.zeros(0, 2)), 4), r"^data: no batches: the data set TensorDataset has no rows"),
        (DataLoader(Rows(), 32, drop_last=True), r"has 16 rows, fewer than a batch, and drop_last leaves them out"),
    ],
    ids=["list", "no rows", "no rows of torch's", "drop_last"],
)
def test_data_without_a_batch_are_told_as_far_as_can_be(data: Any, said: str) -> None:
    assert re.search(said, why_empty(data))


def test_nothing_can_go_on_that_could_not_begin() -> None:
    assert fault_of(ValueError("no data"), None) is DataFault.CANNOT_GO_ON
