"""The search for the few that are at fault."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.diagnosis.culprits import at_most, find_culprits, find_each


class Asked:
    """Healthy without `bad`, and counting how often it was asked."""

    def __init__(self, bad: set[int]) -> None:
        self.bad = bad
        self.times = 0

    def __call__(self, positions: Sequence[int]) -> bool:
        assert positions == sorted(set(positions))
        assert positions
        self.times += 1
        return not self.bad & set(positions)


@given(count=st.integers(2, 300), data=st.data())
def test_up_to_three_are_found_among_many(count: int, data: st.DataObject) -> None:
    few = st.sets(st.integers(0, count - 1), min_size=1, max_size=min(3, at_most(count)))
    bad = data.draw(few)
    asked = Asked(bad)
    assert find_culprits(count, asked, most_tests=1000) == tuple(sorted(bad))
    # Up to six parts for a healthy one, then a logarithm for each.
    assert asked.times <= 6 + 2 * len(bad) * (count.bit_length() + 1)


@given(count=st.integers(2, 100), tests=st.integers(0, 40), bad=st.sets(st.integers(0, 99), min_size=1))
def test_what_is_blamed_is_few_and_holds_all_that_are_at_fault(count: int, tests: int, bad: set[int]) -> None:
    bad = {position % count for position in bad}
    asked = Asked(bad)
    blamed = find_culprits(count, asked, most_tests=tests)
    assert asked.times <= tests
    if blamed:
        assert len(blamed) <= at_most(count)
        assert bad <= set(blamed)


@pytest.mark.parametrize("count", [1, 2, 3, 8, 32, 1000])
def test_a_fault_of_everyone_is_nobodys(count: int) -> None:
    asked = Asked(set(range(count)))
    assert find_culprits(count, asked, most_tests=100) == ()
    assert asked.times <= 6


def test_a_third_is_not_a_few() -> None:
    assert find_culprits(30, Asked(set(range(10))), most_tests=1000) == ()


def test_one_of_two_can_be_told() -> None:
    assert find_culprits(2, Asked({1}), most_tests=10) == (1,)


@given(count=st.integers(2, 200), data=st.data())
def test_each_that_spoils_whatever_it_is_in_is_found_though_one_alone_cannot_be_tried(
    count: int, data: st.DataObject
) -> None:
    """A `BatchNorm` takes no single sample: one is tried alone only while no other is known to be sound."""
    bad = data.draw(st.sets(st.integers(0, count - 1), min_size=1, max_size=at_most(count)))
    sound: set[int] = set()

    def spoils(positions: Sequence[int]) -> bool:
        assert positions == sorted(set(positions))
        assert len(positions) > 1 or not sound
        if bad.isdisjoint(positions):
            sound.update(positions)
        return not bad.isdisjoint(positions)

    assert find_each(count, spoils, most_tests=1000) == tuple(sorted(bad))


def test_what_cannot_be_told_in_so_many_tests_is_nobodys() -> None:
    assert find_each(64, lambda positions: 7 in positions, most_tests=3) == ()
