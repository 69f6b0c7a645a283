"""The losses of a run, few enough to be drawn at once."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from supervisor.live.loss_curve import MOST_POINTS, LossCurve, columns_of, heights_of, sampled_losses


@given(st.lists(st.tuples(st.integers(0, 50), st.floats(0, 10))))
def test_going_back_drops_what_came_after(losses: list[tuple[int, float]]) -> None:
    curve = LossCurve()
    for step, loss in losses:
        curve.add(step, loss)
        assert curve.points[-1] == (step, loss)
        steps = [step for step, _ in curve.points]
        assert steps == sorted(set(steps))
    curve.back_to(25)
    assert all(step < 25 for step, _ in curve.points)


def test_few_are_kept_of_very_many_from_first_to_last() -> None:
    curve = LossCurve()
    for step in range(50 * MOST_POINTS):
        curve.add(step, float(step))
    assert MOST_POINTS // 2 <= len(curve.points) <= MOST_POINTS
    assert curve.points[0][0] < 100
    assert curve.points[-1] == (50 * MOST_POINTS - 1, 50 * MOST_POINTS - 1)


def test_a_column_is_the_mean_of_its_losses_and_a_gap_repeats_the_one_before() -> None:
    points = [(0, 1.0), (1, 3.0), (6, 5.0)]
    assert columns_of(points, 5, 10) == [2.0, 2.0, 2.0, 5.0, None]
    assert columns_of([], 3, 10) == [None] * 3


def test_a_loss_that_is_not_finite_hides_behind_no_other() -> None:
    (column,) = columns_of([(0, 1.0), (1, math.inf), (2, 1.0)], 1, 3)
    assert column == math.inf
    assert heights_of([1.0, math.nan, 2.0, None], 8) == [0, -1, 7, None]
    assert heights_of([math.nan, None], 8) == [-1, None]


def test_heights_go_from_the_lowest_to_the_highest() -> None:
    assert heights_of([1.0, 2.0, 3.0], 3) == [0, 1, 2]
    assert heights_of([2.0, 2.0], 8) == [0, 0]
    # Over orders of magnitude each of them counts alike.
    assert heights_of([0.001, 0.01, 0.1, 1.0], 4) == [0, 1, 2, 3]
    assert heights_of([-1e308, 1e308], 8) == [0, 0]


def test_a_long_log_is_looked_into_evenly(written: Any) -> None:
    written.begin()
    for step in range(300):
        written.step(2 + step, step, loss=1 / (step + 1))
    found = [*sampled_losses(written.layout.rank_events, 20)]
    assert 15 <= len(found) <= 20
    assert all(loss == 1 / (step + 1) for step, loss in found)
    assert found[0][0] < 20
    assert found[-1][0] > 270


def test_of_a_log_that_is_short_torn_or_not_there_all_there_is_is_found(written: Any, tmp_path: Path) -> None:
    assert [*sampled_losses(tmp_path / "none")] == []
    written.begin()
    written.step(2, 19, loss=0.5)
    written.step(3, 39, loss=0.25)
    log = written.layout.rank_events
    log.write_bytes(log.read_bytes() + b'{"schema":1,"time":"2026-01-01T00:00:00.000000Z","event":"step","st')
    assert [*sampled_losses(log)] == [(19, 0.5), (39, 0.25)]
