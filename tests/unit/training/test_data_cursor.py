"""The position in the data: the same batches again, mid-epoch and beyond, in this process or the next."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import (
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
)
from torchdata.stateful_dataloader import StatefulDataLoader

from supervisor.errors import InputError
from supervisor.training.bad_rows import BadSamples
from supervisor.training.data_cursor import DataCursor
from supervisor.training.data_position import writable
from supervisor.training.rng import capture_rng, preserved_rng, restore_rng
from supervisor.training.tree import plain

ITEMS, BATCH, EPOCH = 11, 2, 6
"""The last batch of each epoch is a short one."""


pytestmark = pytest.mark.filterwarnings("ignore:'set_vital' is deprecated")


@pytest.fixture(autouse=True)
def _undisturbed() -> Iterator[None]:
    with preserved_rng():
        seed(0)
        yield


def seed(value: int) -> None:
    random.seed(value)
    np.random.seed(value)
    torch.manual_seed(value)


def generator(value: int = 5) -> torch.Generator:
    return torch.Generator().manual_seed(value)


def items() -> TensorDataset:
    return TensorDataset(torch.arange(ITEMS))


class Numbers:
    """Resumable data of one's own, whose order depends on an epoch count that only it knows."""

    def __init__(self) -> None:
        self.epoch = 0
        self.index = 0

    def __len__(self) -> int:
        return EPOCH

    def __iter__(self) -> Iterator[Tensor]:
        order = torch.randperm(EPOCH, generator=generator(self.epoch)).tolist()
        while self.index < EPOCH:
            self.index += 1
            yield torch.tensor([self.epoch * 100 + order[self.index - 1]])
        self.epoch += 1
        self.index = 0

    def state_dict(self) -> dict[str, int]:
        return {"epoch": self.epoch, "index": self.index}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.epoch, self.index = state["epoch"], state["index"]


class Counting(IterableDataset[Tensor]):
    def __iter__(self) -> Iterator[Tensor]:
        return iter(torch.arange(ITEMS))


class Noisy(Dataset[Tensor]):
    """Draws from the global generators for each item, as augmentation does."""

    def __len__(self) -> int:
        return ITEMS

    def __getitem__(self, index: int) -> Tensor:
        return torch.tensor([index, random.random(), np.random.rand(), torch.rand(()).item()])


def weighted() -> DataLoader[Any]:
    own = generator()
    return DataLoader(items(), batch_size=BATCH, sampler=WeightedRandomSampler([1.0] * ITEMS, ITEMS, generator=own))


def stateful_sampler() -> StatefulDataLoader[Any]:
    return StatefulDataLoader(items(), BATCH, sampler=RandomSampler(items(), generator=generator()))


SOURCES: dict[str, Callable[[], Any]] = {
    "list": lambda: [torch.tensor([i]) for i in range(EPOCH)],
    "loader": lambda: DataLoader(items(), BATCH),
    "loader-shuffled-by-its-generator": lambda: DataLoader(items(), BATCH, shuffle=True, generator=generator()),
    "loader-shuffled-by-the-global-one": lambda: DataLoader(items(), BATCH, shuffle=True),
    "loader-weighted": weighted,
    "loader-subset": lambda: DataLoader(items(), BATCH, sampler=SubsetRandomSampler(range(ITEMS), generator())),
    "loader-iterable": lambda: DataLoader(Counting(), BATCH),
    "stateful": lambda: StatefulDataLoader(items(), BATCH),
    "stateful-shuffled-by-its-generator": lambda: StatefulDataLoader(
        items(), BATCH, shuffle=True, generator=generator()
    ),
    "stateful-shuffled": lambda: StatefulDataLoader(items(), BATCH, shuffle=True),
    "stateful-sampler": stateful_sampler,
    "stateful-weighted-by-the-global-one": lambda: StatefulDataLoader(
        items(), BATCH, sampler=WeightedRandomSampler([1.0] * ITEMS, ITEMS)
    ),
    "stateful-iterable": lambda: StatefulDataLoader(Counting(), BATCH),
    "resumable-of-ones-own": Numbers,
}

AT = [0, 1, 3, EPOCH - 1, EPOCH, EPOCH + 1, 2 * EPOCH, 2 * EPOCH + 4]


def drawn(cursor: DataCursor, count: int) -> list[Any]:
    """Batches, each with a number from the global generator, as a training would draw."""
    return [(as_lists(cursor.next()), torch.rand(()).item()) for _ in range(count)]


def as_lists(batch: Any) -> Any:
    return [part.tolist() for part in batch] if isinstance(batch, list) else batch.tolist()


def global_state() -> Any:
    state = capture_rng()
    python, numpy = state["python"], state["numpy"]
    return repr((python[1].tolist(), python[2], numpy[1].tolist(), numpy[2:], state["torch"].tolist()))


def know_the_end_of_an_epoch(request: pytest.FixtureRequest, name: str, at: int) -> None:
    """torchdata reads such a sampler forward to its last item and not to its end, where torch's draws once more."""
    if name == "stateful-sampler" and at in (EPOCH, 2 * EPOCH):
        reason = "a StatefulDataLoader does not know its place at the end of a sampler that is not stateful"
        request.applymarker(pytest.mark.xfail(reason=reason, strict=True))


@pytest.mark.parametrize("name", SOURCES)
@pytest.mark.parametrize("at", AT)
class TestGoingBack:
    def test_the_same_batches_come_again_into_the_next_epochs(
        self, name: str, at: int, request: pytest.FixtureRequest
    ) -> None:
        know_the_end_of_an_epoch(request, name, at)
        cursor = DataCursor(SOURCES[name]())
        drawn(cursor, at)
        position, rng = cursor.position(), capture_rng()
        expected = drawn(cursor, 2 * EPOCH + 1)
        where = (cursor.batch_number, cursor.epoch, cursor.batch_in_epoch)
        for further in (0, 1, EPOCH):
            drawn(cursor, further)
            cursor.seek(position)
            assert (cursor.batch_number, cursor.epoch) == (position["batch_number"], position["epoch"])
            restore_rng(rng)
            assert drawn(cursor, 2 * EPOCH + 1) == expected
            assert (cursor.batch_number, cursor.epoch, cursor.batch_in_epoch) == where

    def test_another_process_goes_on_alike(
        self, name: str, at: int, tmp_path: Path, request: pytest.FixtureRequest
    ) -> None:
        know_the_end_of_an_epoch(request, name, at)
        cursor = DataCursor(SOURCES[name]())
        drawn(cursor, at)
        torch.save(plain({"position": cursor.position(), "rng": capture_rng()}), tmp_path / "position.pt")
        expected = drawn(cursor, 2 * EPOCH + 1)
        seed(99)
        resumed = DataCursor(SOURCES[name]())
        saved = torch.load(tmp_path / "position.pt", weights_only=True)
        resumed.seek(saved["position"])
        restore_rng(saved["rng"])
        assert drawn(resumed, 2 * EPOCH + 1) == expected

    def test_neither_position_nor_seek_touches_the_global_generators(self, name: str, at: int) -> None:
        cursor = DataCursor(SOURCES[name]())
        drawn(cursor, at)
        before = global_state()
        position = cursor.position()
        assert global_state() == before
        drawn(cursor, 3)
        moved = global_state()
        cursor.seek(position)
        assert global_state() == moved

    def test_asking_for_the_position_changes_nothing(self, name: str, at: int) -> None:
        asked, unasked = DataCursor(SOURCES[name]()), DataCursor(SOURCES[name]())
        seed(1)
        expected = drawn(unasked, at + EPOCH)
        seed(1)
        got = drawn(asked, at)
        for _ in range(EPOCH):
            asked.position()
            got += drawn(asked, 1)
        if name != "stateful-shuffled":  # each such loader draws a seed of its own when it is built
            assert got == expected

    def test_a_position_can_be_used_again_and_is_not_written_to(self, name: str, at: int) -> None:
        cursor = DataCursor(SOURCES[name]())
        drawn(cursor, at)
        position = cursor.position()
        before = repr(position)
        cursor.seek(position)
        drawn(cursor, EPOCH + 1)
        assert repr(position) == before


@pytest.mark.parametrize("name", SOURCES)
def test_the_batches_are_those_of_a_plain_loop(name: str) -> None:
    seed(3)
    source = SOURCES[name]()
    rng = capture_rng()
    expected = [(as_lists(b), torch.rand(()).item()) for _ in range(3) for b in source]
    seed(3)
    cursor = DataCursor(SOURCES[name]())
    restore_rng(rng)
    assert drawn(cursor, 3 * EPOCH) == expected
    assert (cursor.batch_number, cursor.epoch, cursor.batch_in_epoch) == (3 * EPOCH, 2, EPOCH)


@pytest.mark.parametrize("name", [n for n in SOURCES if "iterable" not in n and n != "stateful-shuffled"])
@pytest.mark.parametrize("resumed", [False, True])
def test_an_epoch_that_is_known_to_have_ended_ends_without_the_next_batch(name: str, resumed: bool) -> None:
    unbroken, cursor = DataCursor(SOURCES[name]()), DataCursor(SOURCES[name]())
    seed(1)
    expected = drawn(unbroken, 3 * EPOCH)
    seed(1)
    got = []
    for _ in range(3):
        assert not cursor.ended_epoch()
        got += drawn(cursor, EPOCH - 1)
        assert not cursor.ended_epoch()
        got += drawn(cursor, 1)
        epoch = cursor.epoch
        assert cursor.ended_epoch()
        assert not cursor.ended_epoch()
        assert (cursor.epoch, cursor.batch_in_epoch) == (epoch + 1, 0)
        if resumed:
            position, rng = cursor.position(), capture_rng()
            cursor = DataCursor(SOURCES[name]())
            cursor.seek(position)
            restore_rng(rng)
    assert got == expected


@pytest.mark.parametrize("resumed", [False, True])
def test_workers_that_outlive_an_epoch(resumed: bool) -> None:
    """A loader draws their seed from its generator in its first epoch, and in no other."""

    def loader() -> DataLoader[Any]:
        own = generator()
        return DataLoader(items(), BATCH, shuffle=True, generator=own, num_workers=1, persistent_workers=True)

    cursor, positions = DataCursor(loader()), []
    expected = []
    for at in (0, 2, EPOCH, EPOCH + 2):
        expected += drawn(cursor, at - len(expected))
        if at == EPOCH:
            assert cursor.ended_epoch()
        positions.append((at, cursor.position(), capture_rng()))
    expected += drawn(cursor, 2 * EPOCH + 1 - len(expected))
    for at, position, rng in reversed(positions):
        cursor = DataCursor(loader()) if resumed else cursor
        cursor.seek(position)
        restore_rng(rng)
        assert drawn(cursor, 2 * EPOCH + 1 - at) == expected[at:]


def test_data_without_a_length_cannot_tell_that_they_ended() -> None:
    cursor = DataCursor(DataLoader(Counting(), BATCH))
    drawn(cursor, EPOCH)
    assert not cursor.ended_epoch()


def test_items_that_draw_from_the_global_generators_come_again_mid_epoch() -> None:
    cursor = DataCursor(DataLoader(Noisy(), BATCH, shuffle=True))
    drawn(cursor, 2)
    position, rng = cursor.position(), capture_rng()
    expected = drawn(cursor, 3)
    cursor.seek(position)
    restore_rng(rng)
    assert drawn(cursor, 3) == expected


class Pair(NamedTuple):
    x: Tensor
    y: int


def put_back_at(name: str, at: int, given: int) -> tuple[DataCursor, list[Any]]:
    """A cursor that drew `at` batches and got the last `given` of them back."""
    cursor = DataCursor(SOURCES[name]())
    batches = [cursor.next() for _ in range(at)][at - given :]
    cursor.put_back(batches)
    return cursor, batches


class TestPuttingBack:
    def test_they_come_first_and_in_order_and_count_once(self) -> None:
        cursor = DataCursor([torch.tensor([i]) for i in range(EPOCH)])
        for _ in range(4):
            cursor.next()
        counts = (cursor.batch_number, cursor.epoch, cursor.batch_in_epoch)
        batches = [torch.tensor([2]), torch.tensor([3])]
        cursor.put_back(batches)
        assert cursor.next() is batches[0]
        cursor.put_back(batches[:1])
        assert cursor.next() is batches[0]
        assert cursor.next() is batches[1]
        assert (cursor.batch_number, cursor.epoch, cursor.batch_in_epoch) == counts
        assert cursor.next().item() == 4
        assert cursor.batch_number == 5

    def test_those_of_an_epoch_before_leave_the_epoch_in_progress_alone(self) -> None:
        cursor = DataCursor([torch.tensor([i]) for i in range(EPOCH)])
        batches = [cursor.next() for _ in range(EPOCH + 1)]
        cursor.put_back(batches[-3:-1])
        assert (cursor.epoch, cursor.batch_in_epoch) == (1, 1)
        assert [cursor.next().item() for _ in range(4)] == [EPOCH - 2, EPOCH - 1, 1, 2]
        assert (cursor.epoch, cursor.batch_in_epoch) == (1, 3)

    def test_an_epoch_has_not_ended_while_one_of_its_batches_is_put_back(self) -> None:
        cursor = DataCursor([torch.tensor([i]) for i in range(EPOCH)])
        batches = [cursor.next() for _ in range(EPOCH)]
        cursor.put_back(batches[-1:])
        assert not cursor.ended_epoch()
        cursor.next()
        assert cursor.ended_epoch()

    def test_an_iterator_that_cannot_go_back_takes_them_too(self) -> None:
        cursor = DataCursor(iter([1, 2, 3]))
        cursor.put_back([cursor.next(), cursor.next()])
        assert [cursor.next() for _ in range(3)] == [1, 2, 3]

    @pytest.mark.parametrize("name", SOURCES)
    @pytest.mark.parametrize("at", [3, EPOCH + 1])
    def test_a_position_has_them_in_this_process_and_in_another(self, name: str, at: int, tmp_path: Path) -> None:
        cursor, batches = put_back_at(name, at, 2)
        position, rng = cursor.position(), capture_rng()
        written, lost = writable(position)
        assert lost == 0
        torch.save(plain({"position": written, "rng": rng}), tmp_path / "position.pt")
        expected = drawn(cursor, 2 * EPOCH)
        assert [batch for batch, _ in expected[:2]] == [as_lists(batch) for batch in batches]
        cursor.next()
        cursor.put_back([cursor.next()])
        for _ in range(2):
            cursor.seek(position)
            assert cursor.batch_number == at
            restore_rng(rng)
            assert drawn(cursor, 2 * EPOCH) == expected
        seed(99)
        resumed = DataCursor(SOURCES[name]())
        saved = torch.load(tmp_path / "position.pt", weights_only=True)
        resumed.seek(saved["position"])
        restore_rng(saved["rng"])
        assert drawn(resumed, 2 * EPOCH) == expected

    def test_going_back_to_where_none_was_put_back_drops_them(self) -> None:
        cursor = DataCursor([torch.tensor([i]) for i in range(EPOCH)])
        cursor.next()
        position = cursor.position()
        cursor.put_back([cursor.next()])
        cursor.seek(position)
        assert [cursor.next().item(), cursor.next().item()] == [1, 2]

    @pytest.mark.parametrize(
        "batch",
        [
            Pair(torch.zeros(2), 1),
            np.zeros(2),
            {"x": object()},
            {frozenset({1}): torch.zeros(2)},
            [torch.nn.Parameter(torch.zeros(2))],
            [torch.zeros(2), torch.zeros(2, device="meta")],
        ],
        ids=["named-tuple", "numpy", "object", "key", "parameter", "two-devices"],
    )
    def test_what_a_checkpoint_cannot_give_back_is_left_out_of_it_alone(self, batch: Any) -> None:
        cursor = DataCursor([0])
        good = {"x": torch.arange(3), "of": [("a", 1.5, True, None, b"c")]}
        cursor.put_back([good, batch])
        position = cursor.position()
        written, lost = writable(position)
        assert lost == 1
        resumed = DataCursor([7])
        resumed.seek(written)
        assert as_plain(resumed.next()) == as_plain(good)
        assert resumed.next() == 7
        cursor.seek(position)
        assert cursor.next() is good
        assert cursor.next() is batch

    def test_a_slice_is_written_without_the_rest(self, tmp_path: Path) -> None:
        cursor = DataCursor([0])
        cursor.put_back([torch.zeros(1_000_000)[:4]])
        torch.save(plain(writable(cursor.position())[0]), tmp_path / "position.pt")
        assert (tmp_path / "position.pt").stat().st_size < 100_000


def as_plain(batch: Any) -> Any:
    return {**batch, "x": batch["x"].tolist()}


class TestOneShot:
    def test_an_iterator_goes_on_until_it_ends(self) -> None:
        cursor = DataCursor(iter([torch.tensor([i]) for i in range(3)]))
        assert not cursor.can_go_back
        assert [batch.item() for batch in (cursor.next(), cursor.next(), cursor.next())] == [0, 1, 2]
        assert not cursor.ended_epoch()
        with pytest.raises(InputError, match="ended after 3 batches and cannot begin again"):
            cursor.next()

    def test_it_cannot_go_back(self) -> None:
        cursor = DataCursor(torch.tensor([i]) for i in range(3))
        cursor.next()
        with pytest.raises(InputError, match="cannot go back: give a list or a DataLoader"):
            cursor.seek(cursor.position())

    def test_an_endless_one_does(self) -> None:
        cursor = DataCursor(itertools.cycle([1, 2]))
        assert [cursor.next() for _ in range(5)] == [1, 2, 1, 2, 1]
        assert cursor.epoch == 0


class TestNoData:
    @pytest.mark.parametrize("data", [[], DataLoader(TensorDataset(torch.zeros(0)), 2), iter([])])
    def test_no_batches_are_refused(self, data: Any) -> None:
        with pytest.raises(InputError, match="no batches"):
            DataCursor(data).next()

    def test_data_that_become_empty_are_refused_rather_than_asked_for_ever(self) -> None:
        data = [1]
        cursor = DataCursor(data)
        cursor.next()
        data.clear()
        with pytest.raises(InputError, match="no batches"):
            cursor.next()

    def test_resumable_data_that_are_empty_are_refused(self) -> None:
        class Empty(Numbers):
            def __iter__(self) -> Iterator[Tensor]:
                return iter(())

        with pytest.raises(InputError, match="no batches"):
            DataCursor(Empty()).next()


def test_a_loader_that_is_its_own_iterator_but_resumable_goes_back() -> None:
    class Stream:
        def __init__(self) -> None:
            self.at = 0

        def __iter__(self) -> Stream:
            return self

        def __next__(self) -> int:
            self.at += 1
            return self.at

        def state_dict(self) -> dict[str, int]:
            return {"at": self.at}

        def load_state_dict(self, state: dict[str, int]) -> None:
            self.at = state["at"]

    cursor = DataCursor(Stream())
    assert cursor.can_go_back
    start = cursor.position()
    cursor.next()
    cursor.next()
    position = cursor.position()
    assert cursor.next() == 3
    cursor.seek(position)
    assert cursor.next() == 3
    cursor.seek(start)
    assert cursor.next() == 1


class TestGiving:
    """The batches of one update, which come again where they were never used."""

    def cursor(self) -> DataCursor:
        return DataCursor([torch.tensor([i]) for i in range(EPOCH)])

    def test_as_many_as_an_update_takes_in_order(self) -> None:
        cursor = self.cursor()
        assert [batch.item() for batch in cursor.give(3)] == [0, 1, 2]
        assert (cursor.batch_number, cursor.last_number) == (3, 2)

    def test_the_very_batches_are_known_again_and_no_others(self) -> None:
        cursor = self.cursor()
        given = cursor.give(2)
        assert cursor.handed(given)
        assert cursor.handed(list(given))
        assert not cursor.handed(given[::-1])
        assert not cursor.handed(given[:1])
        assert not cursor.handed([batch.clone() for batch in given])
        assert not self.cursor().handed(given)

    def test_once_used_they_are_not_known_any_more_and_do_not_come_again(self) -> None:
        cursor = self.cursor()
        given = cursor.give(2)
        cursor.used()
        assert not cursor.handed(given)
        cursor.take_back()
        assert cursor.next().item() == 2

    def test_unused_they_come_again_once_under_their_numbers(self) -> None:
        cursor = self.cursor()
        given = cursor.give(2)
        cursor.take_back()
        assert not cursor.handed(given)
        assert (cursor.batch_number, cursor.last_number) == (2, None)
        cursor.take_back()
        again = cursor.give(3)
        assert [batch.item() for batch in again] == [0, 1, 2]
        assert all(one is other for one, other in zip(again, given, strict=False))
        assert cursor.batch_number == 3

    def test_those_before_one_that_raises_come_again(self) -> None:
        class Torn(Dataset[Tensor]):
            torn = True

            def __len__(self) -> int:
                return 4

            def __getitem__(self, index: int) -> Tensor:
                if index == 2 and self.torn:
                    raise OSError("torn record")
                return torch.tensor(index)

        data = Torn()
        cursor = DataCursor(DataLoader(data, batch_size=1))
        with pytest.raises(BadSamples, match="torn record") as caught:
            cursor.give(3)
        assert [batch.item() for batch in caught.value.before] == [0, 1]
        cursor.take_back()
        # The one that raises was told of, and is passed over.
        assert [batch.item() for batch in cursor.give(3)] == [0, 1, 3]
        assert cursor.batch_number == 4

    def test_one_that_raises_ahead_is_left_out_and_told_of_after_what_was_put_back_also_from_a_checkpoint(self) -> None:
        """A fork that draws ahead has nobody to answer it."""

        class Torn(Dataset[Tensor]):
            def __len__(self) -> int:
                return 6

            def __getitem__(self, index: int) -> Tensor:
                if index in (1, 2, 3):
                    raise OSError("torn record")
                return torch.tensor(index)

        def given(cursor: DataCursor) -> list[Any]:
            seen: list[Any] = []
            for _ in range(5):
                try:
                    seen.append(cursor.give(1)[0].tolist())
                except BadSamples as bad:
                    seen.append((bad.again.rows, bad.number, bad.told.message))
                cursor.used()
            return seen

        cursor = DataCursor(DataLoader(Torn(), batch_size=2))
        drawn = [cursor.ahead() for _ in range(3)]
        assert [batch.tolist() for batch in drawn] == [[0], [4, 5], [0]]
        assert cursor.recent_indices(drawn) == [0, 4, 5, 0]
        cursor.put_back(drawn)
        position, resumed = cursor.position(), DataCursor(DataLoader(Torn(), batch_size=2))
        found = given(cursor)
        message = "OSError: torn record"
        assert found == [[0], [4, 5], [0], ((1,), 0, message), ((2, 3), 1, message)]
        resumed.seek(position)
        assert given(resumed) == found

    def test_what_is_handed_to_a_step_was_counted_as_it_was_drawn(self) -> None:
        cursor = self.cursor()
        cursor.give(2)
        cursor.handed((7, 8))
        cursor.taken_from((7, 8))
        assert cursor.batch_number == 2

    def test_to_resume_is_to_seek_where_the_data_can_go_back_and_nothing_where_they_cannot(self) -> None:
        cursor = self.cursor()
        cursor.give(2)
        position = cursor.position()
        resumed = self.cursor()
        resumed.resume(position)
        assert resumed.next().item() == 2
        once = DataCursor(iter([7]))
        once.resume(position)
        assert once.next() == 7


def test_data_that_became_shorter_than_the_position_are_refused() -> None:
    cursor = DataCursor([1, 2, 3, 4])
    for _ in range(3):
        cursor.next()
    shorter = DataCursor([1, 2])
    with pytest.raises(InputError, match="an epoch ends before its batch 3, where the run stands: give the data"):
        shorter.seek(cursor.position())
