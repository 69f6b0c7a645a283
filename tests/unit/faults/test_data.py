"""Bad samples and bad rows: in their batches, whatever a batch is made of, and nowhere else."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import torch
from support.exact import assert_same
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from supervisor.errors import InputError
from supervisor.faults.data import SpoiledData
from supervisor.faults.model import InfBatch, NanBatch, NanGradient, NanSample, OutlierBatch
from supervisor.testing.tiny import tiny_batches
from supervisor.training.bad_rows import BadSamples
from supervisor.training.data_cursor import DataCursor

BATCHES = tiny_batches(6)


class Counted:
    """Counts what it hands out, as a data cursor does."""

    def __init__(self, *faults: Any, data: Any = BATCHES) -> None:
        self.drawn = 0
        self.data = SpoiledData(data, faults, lambda: self.drawn)

    def __iter__(self) -> Iterator[Any]:
        for batch in self.data:
            self.drawn += 1
            yield batch


def test_each_kind_writes_what_it_says_into_the_first_samples() -> None:
    faults = (
        NanBatch(at_batch=1, samples=2),
        InfBatch(at_batch=2, batches=2),
        OutlierBatch(at_batch=4, samples=8, factor=100.0),
    )
    before = [(x_BF.clone(), y_B.clone()) for x_BF, y_B in BATCHES]
    drawn = list(Counted(*faults))
    wanted = [(x_BF.clone(), y_B) for x_BF, y_B in BATCHES]
    wanted[1][0][:2] = math.nan
    wanted[2][0][:1] = wanted[3][0][:1] = math.inf
    wanted[4][0].mul_(100.0)
    for (x_BF, y_B), (wanted_x_BF, wanted_y_B) in zip(drawn, wanted, strict=True):
        torch.testing.assert_close(x_BF, wanted_x_BF, rtol=0, atol=0, equal_nan=True)
        assert torch.equal(y_B, wanted_y_B)
    assert_same(BATCHES, before)


def test_every_floating_tensor_of_a_batch_is_hit_however_it_is_nested() -> None:
    batch = {"x": [torch.ones(3, 2), (torch.ones(3),)], "n": torch.ones(3, dtype=torch.int64), "s": torch.tensor(1.0)}
    (bad,) = Counted(NanBatch(at_batch=0), data=[batch])
    assert bad["x"][0].isnan().tolist() == [[True, True], [False, False], [False, False]]
    assert bad["x"][1][0].isnan().tolist() == [True, False, False]
    assert bad["n"].tolist() == [1, 1, 1]
    assert bad["s"].isnan()


def test_a_fault_of_another_place_leaves_the_very_batches() -> None:
    assert all(one is other for one, other in zip(Counted(NanGradient(at_batch=0)), BATCHES, strict=True))


class TestMeeting:
    def met(self, data: SpoiledData, number: int, update: int | None, batch: Any) -> bool:
        return data.meets(0, number, update, batch)

    def test_a_bad_batch_is_met_once_an_update_and_again_when_it_comes_again(self) -> None:
        counted = Counted(NanBatch(at_batch=1))
        drawn = list(counted)
        asked = [(0, 0), (1, 1), (1, 1), (1, 2), (2, 3)]
        assert [self.met(counted.data, n, update, drawn[n]) for n, update in asked] == [False, True, False, True, False]

    def test_a_batch_without_the_bad_values_is_not_met(self) -> None:
        counted = Counted(NanBatch(at_batch=1))
        x_BF, y_B = list(counted)[1]
        assert not self.met(counted.data, 1, 1, (x_BF[1:], y_B[1:]))
        assert self.met(counted.data, 1, 1, (x_BF, y_B))

    def test_a_factor_leaves_finite_values_and_is_met_all_the_same(self) -> None:
        counted = Counted(OutlierBatch(at_batch=1))
        batch = list(counted)[1]
        assert torch.isfinite(batch[0]).all()
        assert self.met(counted.data, 1, 1, batch)

    @pytest.mark.parametrize("tensors", ["values and labels", "values", "labels"])
    def test_a_batch_without_the_samples_that_a_factor_was_for_is_not_met(self, tensors: str) -> None:
        values_BF = torch.arange(1.0, 9.0).reshape(4, 2)
        labels_B = torch.tensor([0.0, 5.0, 0.0, 1.0])
        data = {"values and labels": (values_BF, labels_B), "values": (values_BF,), "labels": (labels_B + 2,)}[tensors]
        counted = Counted(OutlierBatch(at_batch=0, samples=2), data=[data])
        (batch,) = counted
        assert not counted.data.meets(0, 0, 0, tuple(tensor[2:] for tensor in batch))
        assert counted.data.meets(0, 0, 1, tuple(tensor[1:] for tensor in batch))

    def test_the_fault_that_is_asked_for_is_the_one_that_is_met(self) -> None:
        counted = Counted(NanGradient(at_batch=1), NanBatch(at_batch=1))
        batch = list(counted)[1]
        assert not counted.data.meets(0, 1, 1, batch)
        assert counted.data.meets(1, 1, 1, batch)


class Rows(torch.utils.data.Dataset[Any]):
    """Ten rows of two elements; a whole batch at once where asked to."""

    def __init__(self) -> None:
        self.rows = torch.arange(20.0).reshape(10, 2)

    def __getitem__(self, index: int) -> Tensor:
        return self.rows[index]

    def __len__(self) -> int:
        return 10


class Listed(Rows):
    def __getitems__(self, indices: Sequence[int]) -> list[Tensor]:
        return [self.rows[index] for index in indices]


class Stacked(Rows):
    def __getitems__(self, indices: Sequence[int]) -> Tensor:
        return self.rows[list(indices)]


def kept(batch: Any) -> Any:
    return torch.stack(batch) if isinstance(batch, list) else batch


@pytest.mark.parametrize("dataset", [Rows, Listed, Stacked])
def test_bad_rows_are_bad_wherever_they_are_shuffled_to_in_every_epoch(dataset: Any) -> None:
    held = dataset()
    order = torch.Generator().manual_seed(1)
    loader: Any = DataLoader(held, batch_size=4, shuffle=True, generator=order, collate_fn=kept)
    spoiled = SpoiledData(loader, (NanSample(rows=(3, 7)),), lambda: 0)
    for _ in range(2):
        rows = torch.cat(list(spoiled))
        assert rows.isnan().all(1).sum() == rows.isnan().any(1).sum() == 2
        assert sorted(rows[~rows.isnan().any(1), 0].tolist()) == [0.0, 2.0, 4.0, 8.0, 10.0, 12.0, 16.0, 18.0]
    assert torch.isfinite(held.rows).all()


def test_a_row_is_met_in_the_batches_that_hold_it() -> None:
    loader: Any = DataLoader(TensorDataset(torch.ones(6, 2)), batch_size=2)
    counted = Counted(NanSample(rows=(3,)), data=loader)
    drawn = list(counted)
    assert [counted.data.meets(0, n, n, batch) for n, batch in enumerate(drawn)] == [False, True, False]


@pytest.mark.parametrize(
    ("data", "pattern"),
    [
        (BATCHES, "have no data set with rows: use nan_batch"),
        (DataLoader(TensorDataset(torch.ones(6, 2))), r"rows: 6: write indices below 6"),
    ],
    ids=["list", "too few"],
)
def test_rows_that_are_not_there_are_refused(data: Any, pattern: str) -> None:
    with pytest.raises(InputError, match=pattern):
        SpoiledData(data, (NanSample(rows=(2, 6)),), lambda: 0)


def test_a_row_that_raises_is_told_of_as_without_faults_and_the_batches_go_on() -> None:
    class Torn(Rows):
        def __getitem__(self, index: int) -> Tensor:
            if index == 3:
                raise OSError("row 3 is torn")
            return super().__getitem__(index)

    drawn = 0
    cursor = DataCursor(SpoiledData(DataLoader(Torn(), batch_size=2), (NanBatch(at_batch=2),), lambda: drawn))
    cursor.next()
    drawn = 1
    with pytest.raises(BadSamples, match="row 3 is torn") as caught:
        cursor.next()
    assert caught.value.again.rows == (3,)
    drawn = 2
    assert cursor.next()[0].isnan().all()
    assert cursor.batch_number == 3


def test_what_else_the_data_can_do_they_still_can() -> None:
    loader: Any = DataLoader(TensorDataset(torch.ones(6, 2)), batch_size=2)
    spoiled = SpoiledData(loader, (), lambda: 0)
    assert len(spoiled) == 3
    assert spoiled.batch_sampler is loader.batch_sampler
    with pytest.raises(AttributeError):
        _ = spoiled.state_dict


def test_the_data_begin_when_they_are_asked_for_and_not_at_the_first_batch() -> None:
    begun: list[str] = []

    class Telling:
        def __iter__(self) -> Iterator[Any]:
            begun.append("begun")
            return iter(BATCHES)

    iter(SpoiledData(Telling(), (NanBatch(at_batch=0),), lambda: 0))
    assert begun == ["begun"]
