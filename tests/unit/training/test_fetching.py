"""A loader's process that cannot send what a row raised says so, and does not leave its reader waiting.

Of `StopIteration` test_end_of_data.py tells.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset
from torch.utils.data._utils import fetch
from torchdata.stateful_dataloader import StatefulDataLoader

from supervisor.training.end_of_data import draw
from supervisor.training.fetching import tell_what_rows_raise
from supervisor.training.loader_errors import DataFault, loader_error

TORN = 1


def no_such_key() -> Exception:
    """Of a class that is made as it is needed, and cannot be found by its name."""
    return type("NoSuchKey", (Exception,), {})("row 1 is gone")


def row(index: int) -> Tensor:
    if index == TORN:
        raise no_such_key()
    return torch.tensor([float(index)])


RAISED_AT = f"{__file__}:{row.__code__.co_firstlineno + 2}"


class Rows(Dataset[Tensor]):
    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> Tensor:
        return row(index)


class Stream(IterableDataset[Tensor]):
    def __iter__(self) -> Iterator[Tensor]:
        return (row(index) for index in range(3))


@pytest.fixture(autouse=True)
def changed(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_MapDatasetFetcher", "_IterableDatasetFetcher"):
        kind: Any = vars(fetch)[name]
        monkeypatch.setattr(kind, "fetch", kind.fetch)
    for _ in range(2):
        tell_what_rows_raise()


@pytest.mark.parametrize("kind", [DataLoader, StatefulDataLoader])
def test_the_row_is_a_bad_sample_and_the_loader_goes_on(kind: Any) -> None:
    iterator = iter(kind(Rows(), 1, num_workers=1, timeout=20))
    draw(iterator)
    with pytest.raises(RuntimeError) as caught:
        draw(iterator)
    told = loader_error(caught.value, iterator)
    assert (told.fault, told.where) == (DataFault.BAD_SAMPLE, RAISED_AT)
    assert told.message == "RuntimeError: NoSuchKey: row 1 is gone"
    assert draw(iterator) == torch.tensor([[2.0]])


def test_a_stream_tells_it_too() -> None:
    iterator = iter(DataLoader(Stream(), 1, num_workers=1, timeout=20))
    draw(iterator)
    with pytest.raises(RuntimeError, match="NoSuchKey: row 1 is gone"):
        draw(iterator)


@pytest.mark.parametrize("data", [Rows(), Stream()])
def test_without_processes_the_exception_is_what_it_was(data: Any) -> None:
    iterator = iter(DataLoader(data, 1))
    draw(iterator)
    with pytest.raises(Exception, match="row 1") as caught:
        draw(iterator)
    assert type(caught.value).__name__ == "NoSuchKey"
