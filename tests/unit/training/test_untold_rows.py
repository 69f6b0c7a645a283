"""What the data raise while an experiment draws ahead is kept until it can be answered."""

from __future__ import annotations

from typing import Any

import pytest

from supervisor.training.bad_rows import NOTHING_LEFT, BadSamples, ReadAgain
from supervisor.training.loader_errors import DataFault, LoaderError
from supervisor.training.untold_rows import MOST_IN_A_ROW, UntoldRows


def bad(*rows: int, left: Any = NOTHING_LEFT, number: int = 0) -> BadSamples:
    told = LoaderError(DataFault.BAD_SAMPLE, "OSError", "OSError: torn", "mine.py:3", "Traceback")
    again = ReadAgain(left, None if left is NOTHING_LEFT else [9], tuple(range(len(rows))), rows)
    return BadSamples(told, OSError("torn"), again, number)


def giving(*found: Any) -> Any:
    coming = iter(found)

    def next_batch() -> Any:
        batch = next(coming)
        if isinstance(batch, BadSamples):
            raise batch
        return batch

    return next_batch


def told_by(untold: UntoldRows) -> list[BadSamples]:
    found = []
    while untold.rows:
        with pytest.raises(BadSamples) as caught:
            untold.tell()
        found.append(caught.value)
    untold.tell()
    return found


def test_what_is_left_of_a_batch_is_given_and_one_of_which_nothing_is_left_passed_over() -> None:
    untold, source = UntoldRows(), giving("a", bad(3, left="b"), bad(5, 6), "c")
    assert [untold.draw(source) for _ in range(3)] == [("a", None), ("b", [9]), ("c", None)]
    assert untold.rows == {3, 5, 6}
    first, second = told_by(untold)
    assert (first.again.rows, first.again.taken, first.again.batch) == ((3,), True, NOTHING_LEFT)
    assert (second.again.rows, second.again.taken) == ((5, 6), False)


def test_data_that_are_gone_are_not_read_to_their_end() -> None:
    untold = UntoldRows()
    with pytest.raises(BadSamples):
        untold.draw(giving(*(bad(row) for row in range(1000))))
    assert len(told_by(untold)) == MOST_IN_A_ROW


def test_plain_values_hold_what_is_to_be_told() -> None:
    untold, again = UntoldRows(), UntoldRows()
    untold.draw(giving(bad(3, left="b", number=4)))
    again.load_state_dict(untold.state_dict())
    (told,), (same,) = told_by(untold), told_by(again)
    assert (same.told, same.again, same.number) == (told.told, told.again, 4)
    assert str(same.error) == "OSError: torn"
