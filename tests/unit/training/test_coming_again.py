"""What is named where data do not come again, for the kinds that people write."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    DistributedSampler,
    RandomSampler,
    Sampler,
    TensorDataset,
)
from torchdata.stateful_dataloader import StatefulDataLoader

from supervisor.training.coming_again import named, what_to_keep

ROWS = TensorDataset(torch.arange(12.0))
HERE = __name__


class OwnChance(Sampler[int]):
    """Shuffles by a generator of its own."""

    def __init__(self, chance: Any) -> None:
        self.chance = chance

    def __iter__(self) -> Iterator[int]:
        return iter(range(12))

    def __len__(self) -> int:
        return 12


class Counting(Sampler[int]):
    """Shuffles by the number of the epoch."""

    def __init__(self) -> None:
        self.epoch = 0

    def __iter__(self) -> Iterator[int]:
        return iter(range(12))


class Augmenting(Dataset[Any]):
    def __init__(self) -> None:
        self.noise = np.random.default_rng(0)

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.zeros(1)

    def __len__(self) -> int:
        return 12


class Loader:
    """A loader of the user's own."""

    def __init__(self) -> None:
        self.epoch_number = 0

    def __iter__(self) -> Iterator[Any]:
        return iter([])


class Wrapper:
    """As a fault injector wraps the data."""

    def __init__(self, data: Any) -> None:
        self._data = data


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (
            DataLoader(ROWS, sampler=OwnChance(random.Random(0))),
            f"the order comes from {HERE}.OwnChance, which draws from its own `chance` (random.Random): have it draw",
        ),
        (
            DataLoader(ROWS, batch_sampler=BatchSampler(OwnChance(np.random.default_rng(0)), 4, drop_last=False)),
            f"the order comes from {HERE}.OwnChance, which draws from its own `chance` (numpy.random._generator.Gen",
        ),
        (
            DataLoader(ROWS, sampler=Counting()),
            f"the order comes from {HERE}.Counting, which counts its epochs itself (`epoch`): have it draw from a",
        ),
        (
            DataLoader(ROWS, sampler=DistributedSampler(ROWS, num_replicas=1, rank=0)),
            "the order comes from torch.utils.data.distributed.DistributedSampler, which counts its epochs itself",
        ),
        (
            StatefulDataLoader(ROWS, sampler=OwnChance(random.Random(0))),
            f"the order comes from {HERE}.OwnChance, which draws from its own `chance`",
        ),
        (
            DataLoader(ROWS, sampler=RandomSampler(ROWS)),
            "torch.utils.data.dataloader.DataLoader: the data set has changed",
        ),
        (
            Loader(),
            f"{HERE}.Loader, which counts its epochs itself (`epoch_number`): give it state_dict and load_state",
        ),
        (Wrapper(Loader()), f"{HERE}.Loader, which counts"),
        (Wrapper(DataLoader(ROWS, sampler=Counting())), f"the order comes from {HERE}.Counting"),
        ((each for each in [1]), "generator: give it state_dict and load_state_dict that tell where it stands"),
        ([1, 2], "list: give it"),
    ],
)
def test_what_to_make_stateful_about_an_order(data: Any, said: str) -> None:
    assert what_to_keep(data, same_rows=False).startswith(said)


def test_where_the_rows_are_the_same_the_data_set_is_named() -> None:
    told = what_to_keep(DataLoader(Augmenting(), batch_size=4), same_rows=True)
    assert told == (
        f"the rows are the same, their values are not: {HERE}.Augmenting, which draws from its own `noise` "
        "(numpy.random._generator.Generator): draw from the global generators of Python, NumPy or torch, which a "
        "checkpoint holds"
    )
    stateful = what_to_keep(StatefulDataLoader(Augmenting(), batch_size=4, num_workers=2), same_rows=True)
    assert stateful.endswith("; torchdata's loader does not keep those of its worker processes")


def test_names() -> None:
    assert named([]) == "list"
    assert named(Loader()) == f"{HERE}.Loader"
