"""A loader that is read by two. Amid a run, kind by kind: tests/unit/states/test_evaluations.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset
from torchdata.stateful_dataloader import StatefulDataLoader

from supervisor.training.loaders import has_lasting_workers, have_lasting_workers, loader_undisturbed

ROWS = TensorDataset(torch.arange(12))


def never() -> Any:
    raise AssertionError("it need not be asked where it stands")


def read(loader: DataLoader[Any]) -> list[list[int]]:
    return [batch.tolist() for (batch,) in loader]


@pytest.mark.parametrize("kind", [DataLoader, StatefulDataLoader])
def test_the_rest_of_the_epoch_and_the_next_one_are_what_they_would_have_been(kind: Callable[..., Any]) -> None:
    def two_epochs(*, disturbed: bool) -> list[list[int]]:
        loader = kind(ROWS, batch_size=4, shuffle=True, generator=torch.Generator().manual_seed(3))
        reader = iter(loader)
        batches = [next(reader)[0].tolist()]
        if disturbed:
            with loader_undisturbed(loader, never, never):
                assert len(read(loader)) == 3
        return [*batches, *(batch.tolist() for (batch,) in reader), *read(loader)]

    with torch.random.fork_rng():
        torch.manual_seed(1)
        expected = two_epochs(disturbed=False)
        torch.manual_seed(1)
        assert two_epochs(disturbed=True) == expected


def test_an_exception_inside_passes_once_all_is_put_back() -> None:
    loader = DataLoader(ROWS, shuffle=True, generator=torch.Generator().manual_seed(3))
    before = loader.generator.get_state()

    def fails_amid_an_epoch() -> None:
        with loader_undisturbed(loader, never, never):
            next(iter(loader))
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        fails_amid_an_epoch()
    assert torch.equal(loader.generator.get_state(), before)


@pytest.mark.parametrize("data", [[1, 2], iter([1]), object()])
def test_what_keeps_nothing_of_a_reader_is_left_alone(data: object) -> None:
    with loader_undisturbed(data, never, never):
        pass


def test_workers_that_last_are_begun_and_forgotten_as_at_a_position() -> None:
    loader = DataLoader(ROWS, batch_size=4, num_workers=1, persistent_workers=True)
    assert not has_lasting_workers(loader)
    have_lasting_workers(loader, False, never)
    have_lasting_workers(loader, True, lambda: iter(loader))
    assert has_lasting_workers(loader)
    have_lasting_workers(loader, True, never)
    have_lasting_workers(loader, False, never)
    assert not has_lasting_workers(loader)
    have_lasting_workers([1, 2], True, never)
