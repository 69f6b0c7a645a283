"""An iterator that changes batches ends, raises and goes on as the one that it reads."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from supervisor.training.end_of_data import END, NotTheEnd, draw
from supervisor.training.passed_on import PassedOn, source_of


class Rows(Dataset[Tensor]):
    """Four rows, of which the second raises."""

    def __init__(self, kind: type[Exception]) -> None:
        self.kind = kind

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> Tensor:
        if index == 1:
            raise self.kind("row 1 is torn")
        return torch.tensor([index])


def test_each_batch_is_changed_until_the_source_ends() -> None:
    passed = PassedOn(iter([1, 2]), lambda batch: 10 * batch)
    assert [draw(passed), draw(passed)] == [10, 20]
    assert draw(passed) is END


@pytest.mark.parametrize(("kind", "raised"), [(OSError, OSError), (StopIteration, NotTheEnd)])
def test_a_row_that_raises_ends_nothing(kind: type[Exception], raised: type[Exception]) -> None:
    passed = PassedOn(iter(DataLoader(Rows(kind), batch_size=1)), lambda batch: batch + 10)
    assert draw(passed).tolist() == [[10]]
    with pytest.raises(raised):
        draw(passed)
    assert [draw(passed).tolist(), draw(passed).tolist()] == [[[12]], [[13]]]
    assert draw(passed) is END


def test_the_source_is_found_through_several_of_them() -> None:
    source = iter([1])
    assert source_of(PassedOn(PassedOn(source, int), int)) is source
    assert source_of(source) is source
