"""What the guard asks of the data: both kinds of data answer it."""

from __future__ import annotations

from typing import Any

import pytest
from support.parts import unlike

from supervisor.training.data_cursor import DataCursor
from supervisor.training.data_position import DataPosition
from supervisor.training.outside_data import OutsideData

BOTH = pytest.mark.parametrize("data", [DataCursor([1, 2]), OutsideData()], ids=["drawn", "handed over"])


@BOTH
def test_it_is_one(data: DataPosition) -> None:
    assert unlike(DataPosition, data) == []


@BOTH
def test_it_begins_at_the_beginning_with_nothing_left_out(data: DataPosition) -> None:
    assert (data.batch_number, data.epoch, data.last_number, data.quarantined) == (0, 0, None, frozenset())


def test_the_kinds_differ_in_what_they_may_do() -> None:
    drawn, handed = DataCursor([1, 2]), OutsideData()
    assert (drawn.can_go_back, drawn.leaves_out) == (True, True)
    assert (handed.can_go_back, handed.leaves_out) == (False, False)


def test_a_class_without_a_count_is_none() -> None:
    class Other:
        def __getattr__(self, name: str) -> Any:
            if name == "batch_number":
                raise AttributeError(name)
            return None

    assert {"batch_number", "handed"} <= set(unlike(DataPosition, Other()))
