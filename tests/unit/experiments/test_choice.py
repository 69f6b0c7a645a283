"""Which cure is chosen, from scores alone."""

from __future__ import annotations

import math
from collections.abc import Mapping

import pytest

from supervisor.experiments.choice import KEEP, as_good, chosen_cure


def chosen_of(scores: Mapping[str, float], start: float | None = None) -> str | None:
    return chosen_cure(scores, improve=0.1, close=as_good(scores, tolerance=0.1, start=start))


@pytest.mark.parametrize(
    ("scores", "chosen"),
    [
        ({KEEP: 1.0, "clip": 0.5, "lr": 0.49}, "clip"),
        ({KEEP: 1.0, "clip": 0.5, "lr": 0.2}, "lr"),
        ({KEEP: 1.0, "clip": 0.95}, None),
        ({KEEP: 1.0, "clip": 1.2}, None),
        ({KEEP: math.inf, "clip": 5.0, "lr": 4.9}, "clip"),
        ({KEEP: math.inf, "clip": math.inf, "lr": 7.0}, "lr"),
        ({KEEP: math.inf, "clip": math.inf}, None),
        ({KEEP: 0.2, "clip": math.inf}, None),
        ({KEEP: math.nan, "clip": 1.0}, "clip"),
    ],
)
def test_the_first_that_is_as_good_as_the_best_and_better_than_none(
    scores: Mapping[str, float], chosen: str | None
) -> None:
    assert chosen_of(scores) == chosen


@pytest.mark.parametrize(
    ("scores", "chosen"),
    [
        ({KEEP: -1.0, "a": -2.0, "b": -2.1}, "a"),
        ({KEEP: -1.0, "a": -1.05}, None),
        ({KEEP: 1.0, "a": -1.0}, "a"),
        ({KEEP: 0.0, "a": -0.1}, "a"),
        ({KEEP: 0.0, "a": 0.0}, None),
        ({KEEP: 1.0, "a": 0.1, "b": 0.0}, "b"),
    ],
)
def test_losses_may_be_zero_or_below(scores: Mapping[str, float], chosen: str | None) -> None:
    assert chosen_of(scores) == chosen


def test_where_it_is_known_from_where_the_loss_came_down_that_way_is_the_measure() -> None:
    scores = {KEEP: math.inf, "less": 0.25, "more": 0.2}
    assert chosen_of(scores) == "more"
    assert chosen_of(scores, 1.0) == "less"
    assert chosen_of(scores, math.inf) == "more"


def test_of_nothing_nothing_is_chosen() -> None:
    assert chosen_of({}) is None


def test_all_that_are_close_are_told_in_their_order() -> None:
    scores = {KEEP: 9.0, "a": 1.05, "b": math.inf, "c": 1.0, "d": 1.2}
    assert as_good(scores, tolerance=0.1) == ("a", "c")
    assert as_good(scores, tolerance=0.1, start=2.0) == ("a", "c", "d")
    assert as_good({KEEP: math.inf}, tolerance=0.1) == ()
