"""One pass finds each bad row once, with what is wrong, and leaves what is meant so alone."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from supervisor.preflight.data_pass import DataPass, told
from supervisor.preflight.reading import reader_of
from supervisor.preflight.report import DataCheck, RowFault
from supervisor.update.wrong_loss import LossError


class Table(Dataset[Any]):
    """Rows of tensors; one of them may raise."""

    def __init__(self, *columns: Tensor, torn: int | None = None) -> None:
        self.columns, self.torn = columns, torn

    def __len__(self) -> int:
        return len(self.columns[0])

    def __getitem__(self, index: int) -> tuple[Tensor, ...]:
        if index == self.torn:
            raise KeyError(index)
        return tuple(column[index] for column in self.columns)


def healthy(rows: int = 300) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(rows, 5, generator=generator), torch.randint(3, (rows,), generator=generator)


def looked_at(data: Any, most: int | None = None) -> DataCheck:
    return DataPass(reader_of(data)).run(most)


def test_each_bad_row_is_named_with_what_is_wrong() -> None:
    x, y = healthy()
    x[4, 2], x[9, 0], x[9, 3] = math.nan, math.inf, -math.inf
    x[100] *= 1000
    found = looked_at(DataLoader(Table(x, y, torn=200), batch_size=32, shuffle=True))
    assert [(row.index, row.fault) for row in found.bad_rows] == [
        (4, RowFault.NOT_FINITE),
        (9, RowFault.NOT_FINITE),
        (100, RowFault.FAR_OUTSIDE),
        (200, RowFault.RAISES),
    ]
    nan, both, far, torn = (row.what for row in found.bad_rows)
    assert nan == "tensor 0: nan in column 2"
    assert both == "tensor 0: inf in column 0 and 1 more"
    assert far.startswith("tensor 0, column ")
    assert torn.startswith("KeyError: 200 (")
    assert f"{__file__}:" in torn
    assert (found.unit, found.total, found.read, found.rows, found.complete) == ("rows", 300, 300, 300, True)


def test_a_row_with_several_faults_is_named_once() -> None:
    x, y = healthy()
    z = torch.randn(300, 2, generator=torch.Generator().manual_seed(1))
    x[4, 2], z[4], z[9] = math.nan, 1e6, 1e6
    found = looked_at(DataLoader(Table(x, z, y), batch_size=32))
    assert [(row.index, row.fault) for row in found.bad_rows] == [(4, RowFault.NOT_FINITE), (9, RowFault.FAR_OUTSIDE)]


def test_healthy_data_are_healthy() -> None:
    x, y = healthy()
    found = looked_at(DataLoader(Table(x, y), batch_size=32))
    assert (found.bad_rows, found.usual) == ((), ())


def test_whole_numbers_are_never_far_outside() -> None:
    ids = torch.ones(300, dtype=torch.int64)
    ids[7] = 10**15
    assert looked_at(DataLoader(Table(healthy()[0], ids), batch_size=32)).bad_rows == ()


def test_what_most_rows_hold_is_meant_so() -> None:
    """A mask of -inf is in every row."""
    x, y = healthy()
    mask = torch.zeros(300, 4, 4).masked_fill(torch.ones(4, 4).triu(1).bool(), -math.inf)
    x[3, 1] = math.nan
    found = looked_at(DataLoader(Table(x, mask, y), batch_size=32))
    assert [(row.index, row.what) for row in found.bad_rows] == [(3, "tensor 0: nan in column 1")]
    assert found.usual == ("tensor 1: 300 of 300 rows are not finite: so many are how the data are, and none is named",)


def test_many_rows_outside_are_said_and_not_named() -> None:
    x, y = healthy()
    for column in range(5):
        x[column * 50 : column * 50 + 4, column] = 1e9
    found = looked_at(DataLoader(Table(x, y), batch_size=32))
    assert found.bad_rows == ()
    assert found.usual[0].startswith("tensor 0: 20 rows hold values far outside of their column: so many are how")


def test_sequences_of_many_lengths_have_no_columns() -> None:
    batches = [{"x": torch.randn(8, length) * 10.0**length} for length in range(1, 30)]
    batches[3]["x"][2, 1] = math.nan
    found = looked_at(batches)
    assert [(row.batch, row.position, row.index) for row in found.bad_rows] == [(3, 2, None)]
    assert (found.unit, found.read, found.rows) == ("batches", 29, 232)


def test_batches_without_rows_are_named_whole() -> None:
    found = looked_at([(torch.zeros(3), torch.full((2,), math.nan)), (torch.zeros(3), torch.zeros(2))] * 2)
    assert [(row.batch, row.position) for row in found.bad_rows] == [(0, None), (2, None)]


def test_how_far_it_is_can_be_shown() -> None:
    shown: list[int] = []
    DataPass(reader_of(DataLoader(Table(*healthy(100)), batch_size=32)), shown.append).run(70)
    assert shown == [32, 64, 70]


def test_the_end_of_a_stream_is_said() -> None:
    def stream() -> Any:
        yield torch.zeros(3)
        raise OSError("the archive is torn")

    found = looked_at(stream())
    assert found.complete is False
    assert "what comes behind was not looked at" in found.usual[-1]


def test_an_exception_is_told_with_the_line_it_comes_from() -> None:
    def wrong(batch: Any) -> None:
        """Lies in this file."""

    assert told(LossError("loss(batch) must return a tensor", wrong)).endswith(
        f"({__file__}:{wrong.__code__.co_firstlineno})"
    )
    assert told(ValueError("never raised\nand more")) == "ValueError: never raised"
