"""Overflows that calibrate a loss scale, and those that say it collapses or lies on its floor."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.policy import RecoveryPolicy
from supervisor.records import Observation, SignalName
from supervisor.signals import Detectors
from supervisor.signals.loss_scale import FLOOR, LONGEST_RUN, LossScale

courses = st.lists(st.sampled_from(["overflowed", "applied"]), max_size=40)


def after(course: list[str]) -> LossScale:
    scale = LossScale()
    for each in course:
        getattr(scale, each)()
    return scale


def test_all_overflows_before_the_first_applied_update_are_expected_above_the_floor() -> None:
    scale = LossScale()
    for halvings in range(16):
        assert scale.expects_overflow(65536.0 / 2**halvings)
        scale.overflowed()
    assert not scale.expects_overflow(1.0)


def test_later_so_many_in_a_row_are_and_the_next_is_not() -> None:
    scale = after(["overflowed"] * 12 + ["applied"])
    found = []
    for _ in range(LONGEST_RUN + 2):
        found.append(scale.expects_overflow(65536.0))
        scale.overflowed()
    assert found == [True] * 8 + [False] * 2
    scale.applied()
    assert scale.expects_overflow(65536.0)


@given(courses, st.floats(max_value=FLOOR, allow_nan=False))
def test_at_the_floor_none_is_expected(course: list[str], value: float) -> None:
    assert not after(course).expects_overflow(value)


@given(courses)
def test_a_collapse_is_found_whatever_came_before(course: list[str]) -> None:
    scale = after([*course, "applied", *["overflowed"] * LONGEST_RUN])
    assert not scale.expects_overflow(math.inf)


@given(courses, courses)
def test_the_state_goes_on_alike(before: list[str], later: list[str]) -> None:
    one = after(before)
    other = LossScale(**asdict(one))
    for each in later:
        assert one.expects_overflow(4.0) == other.expects_overflow(4.0)
        getattr(one, each)()
        getattr(other, each)()
    assert one.expects_overflow(4.0) == other.expects_overflow(4.0)


def overflow(**changes: Any) -> Observation:
    fields: dict[str, Any] = {"gradient_elements_finite": False, "bad_gradients": ("w",), "loss_scale": 1024.0}
    return Observation(3, 3, **{"loss": 1.0, "grad_norm": math.inf, **fields, **changes})


class TestDetectors:
    @pytest.mark.parametrize(
        ("changes", "expected"),
        [
            ({}, True),
            ({"sanitized": 2}, False),
            ({"loss": math.nan}, False),
            ({"exception": "RuntimeError: no"}, False),
            ({"loss_scale": None}, False),
            ({"loss_scale": 1.0}, False),
            ({"bad_parameters": ("w",)}, False),
            ({"gradient_elements_finite": True, "grad_norm": 1.0, "sanitized": 2}, False),
        ],
        ids=str,
    )
    def test_only_an_overflow_of_the_gradients_alone_is_calibration(
        self, changes: dict[str, Any], expected: bool
    ) -> None:
        detectors = Detectors(RecoveryPolicy())
        observation = overflow(**changes)
        signals = detectors.inspect(observation)
        assert signals
        assert detectors.is_calibration(observation, signals) is expected

    def test_a_loss_that_is_not_finite_does_not_count_as_an_overflow(self) -> None:
        detectors = Detectors(RecoveryPolicy())
        detectors.accept(Observation(0, 0, 1.0, 1.0))
        for _ in range(LONGEST_RUN):
            detectors.flagged(overflow(loss=math.nan))
        signals = detectors.inspect(overflow())
        assert detectors.is_calibration(overflow(), signals)
        for _ in range(LONGEST_RUN):
            detectors.flagged(overflow())
        assert not detectors.is_calibration(overflow(), signals)

    def test_a_redrawn_model_calibrates_anew(self) -> None:
        detectors = Detectors(RecoveryPolicy())
        detectors.accept(Observation(0, 0, 1.0, 1.0))
        for _ in range(20):
            detectors.calibrated()
        signals = detectors.inspect(overflow())
        assert not detectors.is_calibration(overflow(), signals)
        detectors.forget()
        for _ in range(20):
            assert detectors.is_calibration(overflow(), signals)
            detectors.calibrated()

    def test_its_state_has_the_count(self) -> None:
        detectors, other = Detectors(RecoveryPolicy()), Detectors(RecoveryPolicy())
        detectors.accept(Observation(0, 0, 1.0, 1.0))
        for _ in range(LONGEST_RUN):
            detectors.calibrated()
        other.load_state_dict(detectors.state_dict())
        assert not other.is_calibration(overflow(), other.inspect(overflow()))

    def test_the_signal_names_the_scale(self) -> None:
        signals = Detectors(RecoveryPolicy()).inspect(overflow(loss=math.nan))
        assert {signal.name: signal.details["loss_scale"] for signal in signals} == {
            SignalName.NONFINITE_LOSS: 1024.0,
            SignalName.NONFINITE_GRADIENT: 1024.0,
        }
