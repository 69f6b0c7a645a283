"""The settings of the forecasts: on by default, switched off with null, and only ever observed."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from supervisor.errors import InputError
from supervisor.policy import ComputedIn, HeadroomAnswer, HeadroomWatch, load_policy


def test_forecasts_are_made_by_default_and_only_observed() -> None:
    watch = load_policy(None).detect.headroom
    assert watch == HeadroomWatch()
    assert watch.then is HeadroomAnswer.OBSERVE
    assert watch.computed_in is ComputedIn.AUTO


def test_null_switches_them_off() -> None:
    assert load_policy({"detect": {"headroom": None}}).detect.headroom is None


def test_a_rung_is_no_answer_to_a_forecast() -> None:
    with pytest.raises(InputError, match=r"then: .*observe"):
        load_policy({"detect": {"headroom": {"then": "lower_lr"}}})


@pytest.mark.parametrize(
    "wrong",
    [
        {"horizon_updates": 0},
        {"horizon_updates": 1.5},
        {"factor": 1.0},
        {"factor": float("inf")},
        {"window_updates": 7},
        {"warmup_updates": -1},
        {"repeat_after_updates": True},
        {"computed_in": "float64"},
        {"horizon": 3},
    ],
)
def test_what_makes_no_sense_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        HeadroomWatch.model_validate(wrong)
