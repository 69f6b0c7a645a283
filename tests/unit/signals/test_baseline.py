"""The line through a window: where it stands after a fall, in a rise, and what counts as the largest value."""

from __future__ import annotations

import math

import pytest

from supervisor.signals.baseline import Baseline

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
