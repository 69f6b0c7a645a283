"""Which rows a batch is made of, for loaders of every kind; and leaving some of them out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import BatchSampler, DataLoader, Dataset, IterableDataset, RandomSampler, WeightedRandomSampler
from torchdata.stateful_dataloader import StatefulDataLoader

from energy_flow.energy_trainer import EnergyTrainer
from supervisor.errors import InputError
from supervisor.training.data_cursor import DataCursor
from supervisor.training.data_indices import indices_in, loader_of_rows

ROWS = 22


@dataclass(frozen=True)
class Told:
    x: Tensor
    index: Tensor


class Rows(Dataset[tuple[Tensor, Tensor]]):
    """Each row tells its own index."""

    def __len__(self) -> int:
        return ROWS

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return torch.tensor([float(index)]), torch.tensor(index)


class Drawn(BatchSampler):
    """Batches from a generator function, without a state of their own."""

    def __init__(self) -> None:
        pass

    def __iter__(self) -> Iterator[list[int]]:
        order = torch.randperm(ROWS, generator=seeded()).tolist()
        yield from (order[at : at + 4] for at in range(0, ROWS, 4))

    def __len__(self) -> int:
        return -(-ROWS // 4)


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(5)


LOADERS = {
    "in order": lambda: DataLoader(Rows(), batch_size=4),
    "shuffled": lambda: DataLoader(Rows(), batch_size=4, shuffle=True),
    "own generator": lambda: DataLoader(Rows(), batch_size=4, shuffle=True, generator=seeded()),
    "weighted": lambda: DataLoader(Rows(), batch_size=4, sampler=WeightedRandomSampler(torch.arange(1.0, 23.0), 20)),
    "batch sampler": lambda: DataLoader(Rows(), batch_sampler=BatchSampler(RandomSampler(Rows()), 4, True)),
    "generator function": lambda: DataLoader(Rows(), batch_sampler=Drawn()),
    "workers": lambda: DataLoader(Rows(), batch_size=4, shuffle=True, num_workers=2),
    "stateful": lambda: StatefulDataLoader(Rows(), batch_size=4, shuffle=True, generator=seeded()),
    "stateful, generator function": lambda: StatefulDataLoader(Rows(), batch_sampler=Drawn()),
    "stateful workers": lambda: StatefulDataLoader(Rows(), batch_size=4, shuffle=True, num_workers=2),
}
WITHOUT_A_PLACE_AFTER_A_RESUME = {"stateful workers"}


def told(batch: Any) -> list[int]:
    indices: list[int] = batch[1].tolist()
    return indices


@pytest.mark.parametrize("kind", LOADERS)
def test_the_rows_of_every_batch_are_known_and_nothing_else_changes(kind: str) -> None:
    torch.manual_seed(3)
    loader = LOADERS[kind]()
    plain = [told(batch) for _ in range(2) for batch in loader]
    after = torch.get_rng_state()
    torch.manual_seed(3)
    loader = LOADERS[kind]()
    cursor = DataCursor(loader)
    found = []
    for _ in plain:
        batch = cursor.next()
        assert cursor.recent_indices([batch]) == told(batch)
        found.append(told(batch))
    assert found == plain
    assert cursor.ended_epoch()
    assert torch.equal(torch.get_rng_state(), after)


@pytest.mark.parametrize("kind", LOADERS)
def test_they_are_known_after_going_back_too(kind: str) -> None:
    torch.manual_seed(3)
    cursor = DataCursor(LOADERS[kind]())
    for _ in range(8):
        cursor.next()
    position, rng = cursor.position(), torch.get_rng_state()
    coming = [told(cursor.next()) for _ in range(6)]
    other = DataCursor(LOADERS[kind]())
    other.seek(position)
    torch.set_rng_state(rng)  # as a restored state does
    for number, expected in enumerate(coming):
        batch = other.next()
        assert told(batch) == expected
        known = other.recent_indices([batch])
        lost = kind in WITHOUT_A_PLACE_AFTER_A_RESUME and number < 4
        assert known == (None if lost else expected), number


@pytest.mark.parametrize("kind", LOADERS)
def test_quarantined_rows_are_left_out_and_a_batch_of_nothing_else_is_passed_over(kind: str) -> None:
    torch.manual_seed(3)
    plain = [told(batch) for batch in LOADERS[kind]()]
    out = {plain[0][1], *plain[2]}
    torch.manual_seed(3)
    cursor = DataCursor(LOADERS[kind]())
    cursor.quarantined = frozenset(out)
    expected = [left for batch in plain if (left := [index for index in batch if index not in out])]
    found = [cursor.next() for _ in expected]
    assert [told(batch) for batch in found] == expected
    assert [batch[0].flatten().tolist() for batch in found] == expected
    assert cursor.batch_number == len(plain)
    assert cursor.recent_indices(found[-2:]) == [index for batch in expected[-2:] for index in batch]


def test_a_stream_is_no_data_set_of_rows() -> None:
    class Stream(IterableDataset[Tensor]):
        def __iter__(self) -> Iterator[Tensor]:
            return iter(torch.arange(8.0))

    loader = DataLoader(Stream(), batch_size=4)
    assert loader_of_rows(loader) is None
    cursor = DataCursor(loader)
    assert cursor.recent_indices([cursor.next()]) is None


def test_a_loader_is_found_behind_what_wraps_it() -> None:
    loader = DataLoader(Rows(), batch_size=4)

    class Wrapper:
        def __init__(self) -> None:
            self._data = loader

    assert loader_of_rows(Wrapper()) is loader_of_rows(loader) is loader
    assert loader_of_rows([torch.zeros(3)]) is None
    assert loader_of_rows(DataLoader(Rows(), batch_size=None)) is None


def test_a_quarantine_of_everything_is_refused() -> None:
    cursor = DataCursor(LOADERS["in order"]())
    cursor.quarantined = frozenset(range(ROWS))
    with pytest.raises(InputError, match="every sample of an epoch is quarantined"):
        cursor.next()


def test_energy_flow_tells_its_rows() -> None:
    trainer = EnergyTrainer.from_config({"lattice_width": 4, "lattice_height": 4, "lattice_depth": 4}, seed=3)
    cursor = DataCursor(trainer.data)
    batch = [cursor.next() for _ in range(3)][-1]
    indices = cursor.recent_indices([batch])
    assert indices is not None
    assert torch.equal(batch[0], trainer.pairs.question_NE[indices])


@pytest.mark.parametrize(
    ("batch", "expected"),
    [
        ({"x": torch.zeros(2), "index": torch.tensor([4, 9])}, [4, 9]),
        ({"x": torch.zeros(2), "indices": ["a", "b"]}, ["a", "b"]),
        ({"x": torch.zeros(2), "index": torch.tensor([0.5, 1.0])}, None),
        (Told(torch.zeros(2), torch.tensor([4, 9])), [4, 9]),
        ((torch.zeros(2),), None),
    ],
)
def test_a_batch_may_tell_its_rows_itself(batch: Any, expected: Any) -> None:
    assert indices_in(batch) == expected
    assert DataCursor([batch]).recent_indices([batch]) is None
    cursor = DataCursor([batch])
    assert cursor.recent_indices([cursor.next()]) == expected


def test_the_rows_of_batches_that_were_put_back_stay_known() -> None:
    cursor = DataCursor(DataLoader(Rows(), batch_size=4, shuffle=True, generator=seeded()))
    drawn = [cursor.next() for _ in range(4)]
    cursor.put_back(drawn)
    for batch in drawn:
        assert cursor.next() is batch
        assert cursor.recent_indices([batch]) == told(batch)
