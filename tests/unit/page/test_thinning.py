from __future__ import annotations

import itertools
import math

from hypothesis import given
from hypothesis import strategies as st

from supervisor.page.thinning import Gap, gaps, medians, thinned

VALUES = st.lists(st.floats(width=32), max_size=300)


@given(values=VALUES, most=st.integers(2, 40), always=st.sets(st.integers(0, 299), max_size=5))
def test_what_matters_is_always_drawn(values: list[float], most: int, always: set[int]) -> None:
    kept = thinned(values, always, most)
    assert kept == sorted(set(kept))
    assert {index for index in always if index < len(values)} <= set(kept)
    if not values:
        return
    assert kept[0] == 0
    assert kept[-1] == len(values) - 1
    finite = [value for value in values if math.isfinite(value)]
    drawn = [values[index] for index in kept if math.isfinite(values[index])]
    if finite:
        assert (min(drawn), max(drawn)) == (min(finite), max(finite))
    for first, second in itertools.pairwise(kept):
        # The line is never drawn across a gap.
        between = values[first : second + 1]
        assert all(map(math.isfinite, between)) or not all(math.isfinite(values[each]) for each in (first, second))


@given(values=VALUES, most=st.integers(1, 20))
def test_no_value_that_is_not_finite_is_left_uncounted(values: list[float], most: int) -> None:
    found = gaps(values, most)
    wrong = [index for index, value in enumerate(values) if not math.isfinite(value)]
    assert len(found) <= most
    assert sum(gap.count for gap in found) == len(wrong)
    assert all(any(gap.first <= index <= gap.last for gap in found) for index in wrong)


def test_a_short_curve_is_drawn_whole() -> None:
    assert thinned([1.0, math.nan, 2.0], most=3) == [0, 1, 2]


def test_a_curve_that_is_long_has_no_more_points_than_allowed() -> None:
    assert len(thinned([math.sin(each) for each in range(100_000)], most=4000)) <= 4002


def test_values_in_a_row_are_one_gap_with_what_they_are() -> None:
    assert gaps([1.0, math.nan, math.inf, 2.0, -math.inf]) == [Gap(1, 2, 2, ("nan", "inf")), Gap(4, 4, 1, ("-inf",))]


def test_the_course_of_a_dense_curve() -> None:
    values = [1.0, 5.0, 2.0, math.nan, math.nan, math.nan, 7.0, math.inf, 9.0]
    (first, one), (second, none), (third, two) = medians(values, 3)
    assert (first, one, second, math.isnan(none), third, two) == (1, 2.0, 4, True, 7, 9.0)
    assert medians([], 3) == []


@given(values=VALUES, most=st.integers(2, 40))
def test_the_extremes_of_every_stretch_are_drawn(values: list[float], most: int) -> None:
    kept, count, stretches = set(thinned(values, most=most)), len(values), most // 2
    for stretch in range(stretches):
        here = range(stretch * count // stretches, (stretch + 1) * count // stretches)
        finite = [values[index] for index in here if math.isfinite(values[index])]
        drawn = [values[index] for index in here if index in kept and math.isfinite(values[index])]
        assert not finite or (min(drawn), max(drawn)) == (min(finite), max(finite))
