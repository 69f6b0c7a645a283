"""Where the data stand: of data that the caller draws, what is counted, and what he tells of his loader."""

from __future__ import annotations

from typing import Any

import pytest

from supervisor.errors import InputError
from supervisor.training.data_cursor import DataCursor
from supervisor.training.data_position import DataPosition


class Loader:
    """The caller's own loader, which hands out and takes back the very dictionary it keeps."""

    def __init__(self) -> None:
        self.state: dict[str, Any] = {"at": [3]}

    def state_dict(self) -> dict[str, Any]:
        return self.state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.state = state


def test_what_is_handed_over_is_counted_and_can_be_taken_back() -> None:
    data = DataPosition()
    data.handed([0] * 4)
    data.handed([0] * 2)
    data.taken_from([0] * 2)
    assert data.batch_number == 4


def test_nothing_is_known_of_batches_epochs_and_rows() -> None:
    data, batch = DataPosition(), [1]
    data.handed([0] * 1)
    assert (data.epoch, data.last_number, data.leaves_out) == (0, None, False)
    assert data.recent_indices([batch]) is None
    assert data.ended_epoch() is False


def test_no_batch_is_the_guards_and_none_comes_again() -> None:
    data, batch = DataPosition(), [1]
    data.handed([0] * 1)
    before = data.position()
    data.put_back([batch])
    data.used()
    data.take_back()
    assert data.position() == before == {"batch_number": 1, "outside": None, "pending": []}
    assert data.handed([batch]) is False


def test_only_with_a_position_it_goes_back() -> None:
    assert DataPosition(Loader()).can_go_back
    assert not DataPosition().can_go_back


def test_a_position_is_a_copy_and_stays_one() -> None:
    loader = Loader()
    data = DataPosition(loader)
    data.handed([0] * 3)
    position = data.position()
    loader.state["at"].append(4)
    data.handed([0] * 1)
    for _ in range(2):
        data.seek(position)
        assert (loader.state, data.batch_number) == ({"at": [3]}, 3)
        loader.state["at"].append(5)
    assert position == {"batch_number": 3, "outside": {"at": [3]}, "pending": []}


def test_without_a_loader_the_count_alone_goes_back() -> None:
    data = DataPosition()
    data.handed([0] * 2)
    position = data.position()
    data.handed([0] * 2)
    data.seek(position)
    assert data.batch_number == 2


def test_a_loader_that_came_later_is_left_where_it_stands() -> None:
    position = DataPosition().position()
    loader = Loader()
    DataPosition(loader).seek(position)
    assert loader.state == {"at": [3]}


def test_a_position_of_data_that_the_guard_drew_is_refused_and_on_resume_tells_the_number_alone() -> None:
    cursor = DataCursor([1, 2])
    cursor.next()
    data = DataPosition(Loader())
    data.handed([0] * 5)
    with pytest.raises(InputError, match="of a run whose batches the guard drew: give the guard `data` again"):
        data.seek(cursor.position())
    data.resume(cursor.position())
    assert data.batch_number == 1
    with pytest.raises(InputError, match="whose batches the caller drew: give `position` again"):
        cursor.seek(data.position())


def test_a_resumed_run_goes_to_where_its_data_stood() -> None:
    data = DataPosition(Loader())
    data.handed([0] * 5)
    loader = Loader()
    loader.state = {"at": []}
    resumed = DataPosition(loader)
    resumed.resume(data.position())
    assert (resumed.batch_number, loader.state) == (5, {"at": [3]})


@pytest.mark.parametrize("data", [DataCursor([1, 2]), DataPosition()], ids=["drawn", "handed over"])
def test_it_begins_at_the_beginning_with_nothing_left_out(data: DataPosition) -> None:
    assert (data.batch_number, data.epoch, data.last_number, data.quarantined) == (0, 0, None, frozenset())


def test_the_kinds_differ_in_what_they_may_do() -> None:
    drawn, handed = DataCursor([1, 2]), DataPosition()
    assert (drawn.can_go_back, drawn.leaves_out) == (True, True)
    assert (handed.can_go_back, handed.leaves_out) == (False, False)
