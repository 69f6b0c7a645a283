"""Runs that have learnt nothing by the time that training should show."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from supervisor.records import Observation, SignalName
from supervisor.signals.not_learning import AFTER_UPDATES, NotLearning, Scales, not_learning_signal


def fed(losses: Iterable[float], rates: Iterable[float | None] | None = None) -> NotLearning:
    watch, losses = NotLearning(), [*losses]
    for update, (loss, rate) in enumerate(zip(losses, rates or [0.1] * len(losses), strict=True)):
        watch.accept(Observation(update, update, loss, 1.0, lr=rate))
    return watch


RISEN = [1.0] * 20 + [5.0] * AFTER_UPDATES


class TestAsking:
    def test_a_run_whose_loss_has_risen_is_asked_about_once(self) -> None:
        watch = fed(RISEN)
        assert watch.asks()
        assert watch.over
        assert not watch.asks(scales=Scales.LARGE)

    @pytest.mark.parametrize("late", [0.5, 0.99, 1.0, 1.05])
    def test_one_whose_loss_has_fallen_or_stayed_never_is(self, late: float) -> None:
        watch = fed([1.0] * 20 + [late] * AFTER_UPDATES)
        assert not watch.asks()
        assert watch.over

    def test_one_that_began_with_far_too_large_weights_is_wherever_its_loss_stands(self) -> None:
        assert fed([500.0] * 20 + [100.0] * AFTER_UPDATES).asks(scales=Scales.LARGE)

    @pytest.mark.parametrize(("late", "asked"), [(0.65, False), (0.8, True)])
    def test_one_that_began_with_too_small_weights_is_where_it_learns_slowly(self, late: float, asked: bool) -> None:
        assert fed([1.0] * 20 + [late] * AFTER_UPDATES).asks(scales=Scales.SMALL) is asked

    def test_one_whose_first_losses_had_exploded_is_measured_by_the_least_of_them(self) -> None:
        assert fed([1.5, *[800.0] * 19] + [9.0] * AFTER_UPDATES).asks()
        assert not fed([1.5, *[800.0] * 19] + [1.6] * AFTER_UPDATES).asks()

    def test_one_that_has_lost_what_it_had_learnt_is(self) -> None:
        watch = fed([1.8] * 20 + [0.4] * 16 + [1.5] * AFTER_UPDATES)
        assert watch.asks()
        assert watch.lost
        assert not fed([1.8] * 20 + [1.0] * 16 + [1.5] * AFTER_UPDATES).asks()

    def test_not_before_its_time(self) -> None:
        watch = fed(RISEN[:AFTER_UPDATES])
        assert not watch.asks(scales=Scales.LARGE)
        assert not watch.over

    def test_the_time_is_counted_from_the_last_rise_of_the_rate(self) -> None:
        warm_up = [0.001 * (1 + min(update, 50)) for update in range(len(RISEN))]
        assert not fed(RISEN, warm_up).asks(scales=Scales.LARGE)
        longer = RISEN + [5.0] * 40
        assert fed(longer, [*warm_up, *[0.001] * 40]).asks()
        assert fed(RISEN, [None] * len(RISEN)).asks()

    @pytest.mark.parametrize("loss", [-0.1, float("nan"), float("inf")])
    def test_losses_that_factors_cannot_compare_end_it(self, loss: float) -> None:
        assert fed([1.0, loss]).over

    def test_a_loss_of_exactly_zero_does_not(self) -> None:
        assert not fed([1.0, 0.0]).over


def test_what_it_remembers_goes_through_a_checkpoint() -> None:
    for watch in (NotLearning(), fed(RISEN)):
        other = NotLearning()
        other.load_state_dict(watch.state_dict())
        assert other.state_dict() == watch.state_dict()
        assert other.asks() == watch.asks()


def test_the_finding_compares_medians() -> None:
    signal = not_learning_signal([1.0, 3.1, 9.0], [2.0, 2.0, 2.0])
    assert signal is not None
    assert signal.name is SignalName.NOT_LEARNING
    assert signal.details == {"loss": 3.1, "loss_of_zeros": 2.0}
    assert not_learning_signal([3.0, 3.0], [2.0, 2.0]) is None


def test_where_something_else_speaks_against_the_start_less_is_enough() -> None:
    assert not_learning_signal([1.6], [2.0]) is None
    assert not_learning_signal([1.6], [2.0], hinted=True) is not None
    assert not_learning_signal([1.4], [2.0], hinted=True) is None
