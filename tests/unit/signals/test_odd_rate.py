"""A learning rate far above all before it is odd until one update at it did no harm."""

from __future__ import annotations

import pytest

from supervisor.records import Observation, SignalName
from supervisor.signals.odd_rate import AGAIN, FACTOR, LEAST, OddRate


def seen(lr: float | None) -> Observation:
    return Observation(0, 0, 1.0, 1.0, lr=lr)


def at_rates(*rates: float | None) -> OddRate:
    detector = OddRate()
    for rate in rates:
        detector.accept(seen(rate))
    return detector


def test_far_above_the_highest_it_is_odd() -> None:
    found = at_rates(*[0.1] * LEAST).suspect(seen(4.0))
    assert found is not None
    assert (found.name, found.details) == (SignalName.ODD_UPDATE, {"lr": 4.0, "highest_lr": 0.1})


@pytest.mark.parametrize("rate", [FACTOR * 0.1, 0.1, 0.0, None])
def test_what_is_not_is_not(rate: float | None) -> None:
    assert at_rates(*[0.1] * LEAST).suspect(seen(rate)) is None


def test_a_warm_restart_is_at_a_rate_that_is_known() -> None:
    assert at_rates(*[0.1] * LEAST, 1e-6).suspect(seen(0.1)) is None


@pytest.mark.parametrize("steps", [10, 1000, 100_000])
def test_no_warm_up_that_rises_from_zero_is_odd(steps: int) -> None:
    detector = OddRate()
    for step in range(min(steps, 5000)):
        rate = (step + 1) / steps
        assert detector.suspect(seen(rate)) is None
        detector.accept(seen(rate))


def test_in_the_first_updates_no_rate_is_odd() -> None:
    assert at_rates(*[0.1] * (LEAST - 1)).suspect(seen(100.0)) is None


def test_where_no_rate_is_known_none_is_odd() -> None:
    assert at_rates(*[None] * LEAST).suspect(seen(1.0)) is None


def test_it_remembers_across_a_checkpoint() -> None:
    detector = OddRate()
    detector.load_state_dict(at_rates(*[0.1] * LEAST).state_dict())
    assert detector.suspect(seen(4.0)) is not None


class TestRefused:
    def refused(self) -> OddRate:
        detector = at_rates(*[0.1] * LEAST)
        detector.refuse()
        return detector

    def test_it_is_held_at_the_highest_and_not_odd_again(self) -> None:
        detector = self.refused()
        assert detector.suspect(seen(4.0)) is None
        assert detector.factor(4.0) == 0.1 / 4.0
        # Updates that are made at the lower rate say nothing about it.
        detector.accept(seen(4.0))
        assert detector.factor(4.0) == 0.1 / 4.0

    def test_until_the_schedule_gives_one_that_is_not(self) -> None:
        detector = self.refused()
        assert detector.factor(0.1) == 1.0
        # As a fork may ask: the training has not come to it yet.
        assert detector.factor(4.0) < 1.0
        detector.accept(seen(0.1))
        assert detector.factor(4.0) == 1.0
        assert detector.suspect(seen(4.0)) is not None

    def test_it_is_tried_again_from_time_to_time(self) -> None:
        detector, tried = self.refused(), []
        for update in range(4 * AGAIN):
            if detector.suspect(seen(4.0)) is not None:
                tried.append(update)
                assert detector.factor(4.0) == 1.0
                detector.refuse()
            assert detector.factor(4.0) < 1.0
            detector.accept(seen(4.0))
        assert tried == [AGAIN, 3 * AGAIN]

    def test_and_known_once_it_did_no_harm(self) -> None:
        detector = self.refused()
        for _ in range(AGAIN):
            detector.accept(seen(4.0))
        assert detector.suspect(seen(4.0)) is not None
        detector.accept(seen(4.0))
        assert detector.factor(4.0) == 1.0
        assert detector.suspect(seen(4.0)) is None

    def test_it_stays_refused_across_a_checkpoint(self) -> None:
        detector = OddRate()
        detector.load_state_dict(self.refused().state_dict())
        assert detector.factor(4.0) == 0.1 / 4.0

    @pytest.mark.parametrize("rate", [4.0, 0.1, None])
    def test_without_a_refusal_no_rate_is_touched(self, rate: float | None) -> None:
        assert at_rates(*[0.1] * LEAST).factor(rate) == 1.0
