"""The line through a window: where it stands after a fall, in a rise, and what counts as the largest value."""

from __future__ import annotations

import math
from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.signals.baseline import MAD_TO_SIGMA, Baseline, median_of_sorted

FALL = [math.exp(2.0 - 0.1 * i) for i in range(20)]


def test_a_fall_is_followed_to_where_it_is() -> None:
    baseline = Baseline.of(FALL, quiet=0.2)
    # The median of the newest quarter, which a fall that goes on is below by an eighth of the window.
    assert baseline.level == pytest.approx(2.0 - 0.1 * 17)
    assert baseline.spread == 0.2


def test_a_fall_that_has_ended_leaves_the_level_where_the_values_are() -> None:
    assert Baseline.of([*FALL, *[1.0] * 20], quiet=0.2).level >= 0.0


def test_old_values_of_a_fall_are_not_the_largest_of_late() -> None:
    assert Baseline.of(FALL, quiet=0.2).largest == pytest.approx(math.exp(0.5))
    assert Baseline.of([*FALL[:-1], 9.0], quiet=0.2).largest == pytest.approx(9.0)


def test_a_rise_is_followed_for_as_long_as_it_serves() -> None:
    rise = [math.exp(0.1 * i) for i in range(20)]
    here, later = Baseline.of(rise, quiet=0.2), Baseline.of(rise, quiet=0.2, ahead=10)
    assert here.level == pytest.approx(1.9)
    assert later.level == pytest.approx(2.9)
    assert later.largest == pytest.approx(math.exp(2.9))


def test_the_limit_is_where_a_value_begins_to_be_a_spike() -> None:
    baseline = Baseline.of([1.0, 2.0, 4.0, 3.0] * 5, quiet=0.2)
    for threshold, margin in ((3.0, 1.0), (0.1, 2.0)):
        limit = baseline.limit(threshold, margin)
        assert limit == pytest.approx(
            max(math.exp(baseline.level + threshold * baseline.spread), margin * baseline.largest)
        )
    assert baseline.score(baseline.limit(3.0, 1.0)) == pytest.approx(3.0)


def test_values_beyond_what_a_float_can_hold_make_no_error() -> None:
    baseline = Baseline.of([1e-300, 1e300] * 10, quiet=0.2)
    assert baseline.limit(1e6, 1.0) > 0
    assert baseline.typical > 0


def by_the_book(window: list[float], quiet: float, ahead: int) -> Baseline:
    """The same, written down as the documentation has it, without a thought for time."""
    logarithmic = min(window) > 0
    values = [math.log(value) for value in window] if logarithmic else window
    half = len(values) // 2
    slope = (median(values[-half:]) - median(values[:half])) / (len(values) - half)
    residuals = [value - slope * (1 - len(values)) - slope * age for age, value in enumerate(values)]
    level = median(residuals)
    magnitude = max(abs(value) for value in window)
    spread = max(MAD_TO_SIGMA * median(abs(r - level) for r in residuals), quiet if logarithmic else quiet * magnitude)
    quarter = values[-max(half // 2, 1) :]
    if slope > 0:
        level, highest = level + slope * ahead, max(residuals) + slope * ahead
    else:
        level, highest = max(level, median(quarter)), max(*residuals, *quarter)
    return Baseline(logarithmic, level, spread, math.exp(min(highest, 700.0)) if logarithmic else highest, magnitude)


WINDOWS = st.one_of(
    st.lists(st.floats(1e-6, 1e6), min_size=2, max_size=130),
    st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=130),
    st.lists(st.sampled_from([0.5, 1.0, 2.0]), min_size=2, max_size=40),
)


@given(WINDOWS, st.floats(0, 1), st.integers(0, 32))
def test_it_is_the_formula_described_to_the_bit(window: list[float], quiet: float, ahead: int) -> None:
    assert Baseline.of(window, quiet=quiet, ahead=ahead) == by_the_book(window, quiet, ahead)


@given(WINDOWS)
def test_logarithms_that_the_caller_keeps_change_nothing(window: list[float]) -> None:
    logs = [math.log(value) if value > 0 else -math.inf for value in window]
    assert Baseline.of(window, quiet=0.2, logs=logs) == Baseline.of(window, quiet=0.2)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1))
def test_the_median_is_that_of_the_standard_library(values: list[float]) -> None:
    assert median_of_sorted(sorted(values)) == median(values)
