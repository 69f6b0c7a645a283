"""Whether canaries say that a state was damaged."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from supervisor.experiments.harm import harm
from supervisor.policy import Experiments
from supervisor.signals.odd import LossLevels

SETTINGS = Experiments()
LEVELS = LossLevels(median=1.0, spread=0.1, began=5.0, learnt=4.0, positive=True)
BEFORE = (0.9, 1.0, 1.1, 1.0)


def scaled(factor: float) -> tuple[float, ...]:
    return tuple(loss * factor for loss in BEFORE)


def test_losses_as_they_were_are_no_harm_and_the_medians_are_named() -> None:
    said = harm(BEFORE, BEFORE, LEVELS, SETTINGS)
    assert (said.harmed, said.before, said.now) == (False, 1.0, 1.0)
    assert "is 1, and was 1" in str(said)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_one_loss_that_is_not_finite_is_harm(bad: float) -> None:
    said = harm(BEFORE, (*BEFORE[:3], bad), LEVELS, SETTINGS)
    assert said.harmed
    assert math.isnan(said.now)


def test_the_median_decides_and_not_one_canary() -> None:
    assert not harm(BEFORE, (0.9, 1.0, 1.1, 50.0), LEVELS, SETTINGS).harmed
    assert harm(BEFORE, scaled(2.0), LEVELS, SETTINGS).harmed


@pytest.mark.parametrize(("factor", "harmed"), [(0.1, False), (1.55, False), (1.7, True), (30.0, True)])
def test_the_losses_may_rise_by_the_harm_factor(factor: float, harmed: bool) -> None:
    assert harm(BEFORE, scaled(factor), LEVELS, SETTINGS).harmed is harmed


def test_the_harm_factor_is_the_policys() -> None:
    assert not harm(BEFORE, scaled(2.0), LEVELS, Experiments(harm_factor=3.0)).harmed
    assert harm(BEFORE, scaled(1.3), LEVELS, Experiments(harm_factor=1.1)).harmed


def test_a_rise_within_two_spreads_is_none() -> None:
    assert not harm(BEFORE, scaled(2.0), replace(LEVELS, spread=0.6), SETTINGS).harmed
    assert harm(BEFORE, scaled(2.0), replace(LEVELS, spread=0.4), SETTINGS).harmed


def test_a_rise_of_less_than_the_least_share_of_what_was_learnt_is_none() -> None:
    """A run that has come down from 8 to 1e-4 may wander up to a hundredth of that."""
    levels = LossLevels(median=1e-4, spread=1e-6, began=8.0, learnt=8.0, positive=True)
    before = (1e-4,) * 4
    assert not harm(before, (0.07,) * 4, levels, SETTINGS).harmed
    assert harm(before, (0.09,) * 4, levels, SETTINGS).harmed
    assert harm(before, (0.07,) * 4, levels, Experiments(least_harm=0.0)).harmed


def test_a_canary_that_was_learnt_by_heart_may_double() -> None:
    """Measured against the usual loss, not against its own."""
    levels = LossLevels(median=1.0, spread=0.0, began=1.0, learnt=0.0, positive=True)
    assert not harm((0.005,) * 4, (0.01,) * 4, levels, SETTINGS).harmed
    assert harm((0.5,) * 4, (1.0,) * 4, levels, SETTINGS).harmed


@pytest.mark.parametrize(("factor", "risen"), [(0.5, False), (1.0, False), (1.03, False), (1.05, True), (9.0, True)])
def test_they_have_risen_where_it_is_more_than_the_least_share_of_what_was_learnt(factor: float, risen: bool) -> None:
    assert harm(BEFORE, scaled(factor), LEVELS, SETTINGS).risen is risen


def test_the_rise_is_that_of_the_medians() -> None:
    assert harm(BEFORE, scaled(3.0), LEVELS, SETTINGS).rise == pytest.approx(2.0)
    assert math.isnan(harm(BEFORE, scaled(math.inf), LEVELS, SETTINGS).rise)


class TestSevere:
    """So much is lost that training does not make up for it soon: more than a tenth of what was learnt."""

    @pytest.mark.parametrize(("now", "severe"), [(1.39, False), (1.41, True), (30.0, True)])
    def test_it_is_measured_by_what_was_learnt(self, now: float, severe: bool) -> None:
        assert harm((1.0,) * 4, (now,) * 4, LEVELS, Experiments(harm_factor=1.1)).severe is severe

    def test_a_little_harm_is_not_severe(self) -> None:
        said = harm((1.0,) * 4, (1.8,) * 4, replace(LEVELS, began=11.0, learnt=10.0), SETTINGS)
        assert (said.harmed, said.severe) == (True, False)

    def test_what_is_not_finite_is(self) -> None:
        assert harm(BEFORE, (*BEFORE[:3], math.nan), LEVELS, SETTINGS).severe

    def test_losses_as_they_were_are_not(self) -> None:
        assert not harm(BEFORE, BEFORE, replace(LEVELS, learnt=0.0), SETTINGS).severe

    def test_below_zero_likewise(self) -> None:
        levels = LossLevels(median=-1.0, spread=0.01, began=9.0, learnt=10.0, positive=False)
        for rise, severe in ((0.9, False), (1.1, True)):
            said = harm((-1.0,) * 3, (-1.0 + rise,) * 3, levels, SETTINGS)
            assert (said.harmed, said.severe) == (True, severe)


class TestLossesThatReachZero:
    """A ratio means nothing there: the rise in spreads alone decides."""

    LEVELS = LossLevels(median=-1.0, spread=0.2, began=1.0, learnt=2.0, positive=False)

    @pytest.mark.parametrize(("rise", "harmed"), [(0.5, False), (0.7, True)])
    def test_the_rise_has_to_be_the_suspect_score(self, rise: float, harmed: bool) -> None:
        before = (-1.1, -1.0, -0.9)
        assert harm(before, [loss + rise for loss in before], self.LEVELS, SETTINGS).harmed is harmed

    def test_one_canary_at_zero_is_enough(self) -> None:
        before = (0.0, 0.01, 0.01)
        levels = replace(LEVELS, median=0.01, spread=0.2)
        assert not harm(before, (0.5, 0.5, 0.5), levels, SETTINGS).harmed
        assert harm(before, (0.7, 0.7, 0.7), levels, SETTINGS).harmed

    def test_a_fall_is_never_harm(self) -> None:
        assert not harm((-1.0,) * 3, (-5.0,) * 3, self.LEVELS, SETTINGS).harmed


class TestALossThatIsMostlyNoise:
    """Of 4.6 at the start 1.3 was learnt: a model that has lost everything has 1.4 times the usual loss."""

    LEVELS = LossLevels(median=3.3, spread=0.1, began=4.6, learnt=1.3, positive=True)

    @pytest.mark.parametrize(("now", "harmed"), [(3.6, False), (3.7, True), (4.6, True)])
    def test_a_quarter_of_what_was_learnt_is_harm_whatever_the_ratio(self, now: float, harmed: bool) -> None:
        assert harm((3.3,) * 4, (now,) * 4, self.LEVELS, SETTINGS).harmed is harmed

    def test_but_not_within_two_spreads(self) -> None:
        assert not harm((3.3,) * 4, (3.7,) * 4, replace(self.LEVELS, spread=0.3), SETTINGS).harmed

    def test_nor_where_hardly_anything_was_learnt(self) -> None:
        levels = replace(self.LEVELS, learnt=0.05, spread=0.06)
        assert not harm((3.3,) * 4, (3.5,) * 4, levels, SETTINGS).harmed
