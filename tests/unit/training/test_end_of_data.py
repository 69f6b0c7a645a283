"""Data that are at their end, and a `StopIteration` that merely looks like it, on loaders that really raise."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, default_collate
from torch.utils.data._utils import fetch
from torchdata.stateful_dataloader import StatefulDataLoader

from supervisor.training.data_cursor import DataCursor
from supervisor.training.end_of_data import END, NotTheEnd, begun, draw, why_short
from supervisor.training.fetching import tell_what_rows_raise
from supervisor.training.loader_errors import DataFault, loader_error

ROWS, TORN = 12, 5


def row(index: int) -> Tensor:
    if index == TORN:
        next(iter(()))
    return torch.tensor([float(index)])


NEXT = f"{__file__}:{row.__code__.co_firstlineno + 2}"


class Rows(Dataset[Tensor]):
    """Rows of which one, or none, raises `StopIteration`."""

    def __init__(self, read: Callable[[int], Tensor] = row) -> None:
        self.read = read

    def __len__(self) -> int:
        return ROWS

    def __getitem__(self, index: int) -> Tensor:
        return self.read(index)


def sound(index: int) -> Tensor:
    return torch.tensor([float(index)])


class Items:
    """Items by number, and no iterator."""

    def __init__(self, read: Callable[[int], Tensor]) -> None:
        self.read = read

    def __len__(self) -> int:
        return ROWS

    def __getitem__(self, index: int) -> Tensor:
        if index >= ROWS:
            raise IndexError(index)
        return self.read(index)


class Stream(IterableDataset[Tensor]):
    def __init__(self, made: Callable[[], Iterator[Tensor]]) -> None:
        self.made = made

    def __iter__(self) -> Iterator[Tensor]:
        return self.made()


class Hand:
    """An iterator of one's own, which asks another function for what it gives, and that one says the end."""

    def __init__(self, count: int) -> None:
        self.left = count

    def __iter__(self) -> Hand:
        return self

    def __next__(self) -> Tensor:
        return self.read()

    def read(self) -> Tensor:
        if not self.left:
            raise StopIteration
        self.left -= 1
        return torch.tensor([float(self.left)])


class OldHand(Hand):
    def following(self) -> Tensor:
        return self.read()

    __next__ = following


def torn_collate(rows: list[Tensor]) -> Any:
    if any(int(each) == TORN for each in rows):
        next(iter(()))
    return default_collate(rows)


def generated(read: Callable[[int], Tensor]) -> Iterator[Tensor]:
    for index in range(ROWS):
        yield read(index)


ENDING: dict[str, Callable[[], Any]] = {
    "list": lambda: [sound(index) for index in range(ROWS)],
    "map": lambda: map(sound, range(ROWS)),
    "generator": lambda: generated(sound),
    "one's own": lambda: Hand(ROWS),
    "under another name": lambda: OldHand(ROWS),
    "map over one's own": lambda: map(torch.clone, Hand(ROWS)),
    "by number": lambda: Items(sound),
    "rows": lambda: DataLoader(Rows(sound), 1),
    "rows, stateful": lambda: StatefulDataLoader(Rows(sound), 1),
    "rows, processes": lambda: DataLoader(Rows(sound), 1, num_workers=1),
    "rows, unbatched": lambda: DataLoader(Rows(sound), None),
    "stream": lambda: DataLoader(Stream(lambda: generated(sound)), 1),
    "stream, unbatched": lambda: DataLoader(Stream(lambda: Hand(ROWS)), None),
    "stream, processes": lambda: DataLoader(Stream(lambda: generated(sound)), 1, num_workers=1),
}

TORN_ONES: dict[str, Callable[[], Any]] = {
    "map": lambda: map(row, range(ROWS)),
    "generator": lambda: generated(row),
    "by number": lambda: Items(row),
    "rows": lambda: DataLoader(Rows(), 1),
    "rows, stateful": lambda: StatefulDataLoader(Rows(), 1),
    "rows, processes": lambda: DataLoader(Rows(), 1, num_workers=1),
    "rows, stateful processes": lambda: StatefulDataLoader(Rows(), 1, num_workers=1),
    "rows, unbatched": lambda: DataLoader(Rows(), None),
    "collate": lambda: DataLoader(Rows(sound), 1, collate_fn=torn_collate),
    "stream": lambda: DataLoader(Stream(lambda: generated(row)), 1),
    "stream, unbatched": lambda: DataLoader(Stream(lambda: map(row, range(ROWS))), None),
    "stream, collate": lambda: DataLoader(Stream(lambda: Hand(ROWS)), 1, collate_fn=torn_collate),
}


def drawn(data: Any) -> int:
    iterator = begun(data)
    return next(number for number in itertools.count() if draw(iterator) is END)


@pytest.mark.parametrize("data", ENDING)
def test_the_end_is_the_end(data: str) -> None:
    assert drawn(ENDING[data]()) == ROWS


@pytest.mark.parametrize("data", TORN_ONES)
def test_what_a_row_raises_is_not(data: str) -> None:
    """A generator turns it into another exception itself, by which it is as little the end."""
    with pytest.raises(RuntimeError, match="StopIteration"):
        drawn(TORN_ONES[data]())


def test_what_was_raised_is_its_cause() -> None:
    iterator = begun(map(row, range(TORN, ROWS)))
    with pytest.raises(NotTheEnd, match=f"StopIteration at {NEXT}, raised by") as caught:
        draw(iterator)
    assert isinstance(caught.value.__cause__, StopIteration)
    assert int(draw(iterator)) == TORN + 1


@pytest.fixture
def at_the_source(monkeypatch: pytest.MonkeyPatch) -> None:
    kinds: list[Any] = [vars(fetch)[name] for name in ("_MapDatasetFetcher", "_IterableDatasetFetcher")]
    for kind in kinds:
        monkeypatch.setattr(kind, "fetch", kind.fetch)
    tell_what_rows_raise()
    once = [kind.fetch for kind in kinds]
    tell_what_rows_raise()
    assert [kind.fetch for kind in kinds] == once


@pytest.mark.usefixtures("at_the_source")
class TestAtTheSource:
    @pytest.mark.parametrize("processes", [0, 1])
    def test_a_loop_around_a_loader_does_not_take_it_for_the_end(self, processes: int) -> None:
        def batches() -> Iterator[Tensor]:
            for batch in DataLoader(Rows(), 1, num_workers=processes):
                yield batch + 1

        with pytest.raises(RuntimeError, match=f"StopIteration at {NEXT}, raised by what reads"):
            drawn(batches())

    @pytest.mark.parametrize("kind", [DataLoader, StatefulDataLoader])
    @pytest.mark.parametrize("processes", [0, 1])
    def test_the_row_is_a_bad_sample_as_before(self, processes: int, kind: Any) -> None:
        iterator = iter(kind(Rows(), 1, num_workers=processes))
        for _ in range(TORN):
            draw(iterator)
        with pytest.raises(RuntimeError) as caught:
            draw(iterator)
        told = loader_error(caught.value, iterator)
        assert told.fault is DataFault.BAD_SAMPLE
        assert told.where == NEXT
        assert (told.type, told.message) == ("StopIteration", "StopIteration")
        assert int(draw(iterator)) == TORN + 1

    @pytest.mark.parametrize("data", ENDING)
    def test_the_end_is_the_end(self, data: str) -> None:
        assert drawn(ENDING[data]()) == ROWS


class TestAShortEpoch:
    def test_it_is_told_with_both_numbers(self) -> None:
        assert why_short([1, 2, 3], 3) is None
        assert why_short([1, 2, 3], 4) is None
        assert str(why_short([1, 2, 3], 2)).startswith("an epoch has ended after 2 batches, and len(data) is 3: unless")

    @pytest.mark.parametrize("data", [iter([1]), DataLoader(Stream(lambda: Hand(3)), 1)], ids=["none", "a stream"])
    def test_nothing_is_said_of_data_without_a_length(self, data: Any) -> None:
        assert why_short(data, 0) is None

    def test_a_cursor_says_it_once(self) -> None:
        class Short:
            """Its own end comes early, which nothing but its length tells."""

            def __len__(self) -> int:
                return 4

            def __iter__(self) -> Iterator[Tensor]:
                return Hand(3)

        cursor, said = DataCursor(Short()), list[str]()
        cursor.warn = said.append
        for _ in range(8):
            cursor.next()
        assert cursor.epoch == 2
        assert len(said) == 1
        assert "after 3 batches, and len(data) is 4" in said[0]
