"""Runs that have learnt nothing by the time that training should show."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from supervisor.records import Observation, SignalName
from supervisor.signals.not_learning import AFTER_UPDATES, NotLearning, not_learning_signal


def fed(losses: Iterable[float], rates: Iterable[float | None] | None = None) -> NotLearning:
    watch, losses = NotLearning(), [*losses]
    for update, (loss, rate) in enumerate(zip(losses, rates or [0.1] * len(losses), strict=True)):
        watch.accept(Observation(update, update, loss, 1.0, lr=rate))
    return watch


RISEN = [1.0] * 20 + [5.0] * AFTER_UPDATES


class TestAsking:
    def test_a_run_whose_loss_has_risen_is_asked_about_once(self) -> None:
        watch = fed(RISEN)
        assert watch.asks(large_weights=False)
        assert watch.over
        assert not watch.asks(large_weights=True)

    @pytest.mark.parametrize("late", [0.5, 0.99, 1.0, 1.05])
    def test_one_whose_loss_has_fallen_or_stayed_never_is(self, late: float) -> None:
        watch = fed([1.0] * 20 + [late] * AFTER_UPDATES)
        assert not watch.asks(large_weights=False)
        assert watch.over

    def test_one_that_began_with_far_too_large_weights_is_wherever_its_loss_stands(self) -> None:
        assert fed([500.0] * 20 + [100.0] * AFTER_UPDATES).asks(large_weights=True)

    def test_not_before_its_time(self) -> None:
        watch = fed(RISEN[:AFTER_UPDATES])
        assert not watch.asks(large_weights=True)
        assert not watch.over

    def test_the_time_is_counted_from_the_last_rise_of_the_rate(self) -> None:
        warm_up = [0.001 * (1 + min(update, 50)) for update in range(len(RISEN))]
        assert not fed(RISEN, warm_up).asks(large_weights=True)
        longer = RISEN + [5.0] * 40
        assert fed(longer, [*warm_up, *[0.001] * 40]).asks(large_weights=False)
        assert fed(RISEN, [None] * len(RISEN)).asks(large_weights=False)

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
        assert other.asks(large_weights=False) == watch.asks(large_weights=False)


def test_the_finding_compares_medians() -> None:
    signal = not_learning_signal([1.0, 3.1, 9.0], [2.0, 2.0, 2.0])
    assert signal is not None
    assert signal.name is SignalName.NOT_LEARNING
    assert signal.details == {"loss": 3.1, "loss_of_zeros": 2.0}
    assert not_learning_signal([3.0, 3.0], [2.0, 2.0]) is None
