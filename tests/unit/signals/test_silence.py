"""A loss that stands still and a rate that is taken to nothing; and the many losses and rates that are sound."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import pytest

from supervisor.signals.silence import EARLY_STEPS, NOTHING, SAME_UPDATES, STAYS_STEPS, SilenceWatch, Stepping


def said(
    losses: Iterable[float] | None = None,
    rates: Iterable[float | None] | None = None,
    *,
    stepping: Stepping | None = "by_step",
    end: int | None = None,
    grad_norm: float = 1.0,
    other_group: float = 0.0,
) -> list[tuple[int, str]]:
    """What is said at which step of a run with these losses and rates."""
    watch = SilenceWatch(stepping)
    watch.end = end
    given = [*rates] if rates is not None else None
    values = [*losses] if losses is not None else [1.0 / (step + 1) for step in range(len(given or ()))]
    found = []
    for step, loss in enumerate(values):
        rate = 0.1 if given is None else given[step]
        if watch.accept(step, loss, rate):
            found += [(step, each) for each in watch.findings(step, grad_norm, max(rate or 0.0, other_group))]
    return found


def steps(count: int, rate: Callable[[int], float]) -> list[float]:
    return [rate(step) for step in range(count)]


class TestTheLoss:
    @pytest.mark.parametrize(
        ("loss", "grad_norm", "words"),
        [
            (0.0, 0.0, "exactly 0 for 300 updates in a row: everything is learnt, or nothing is counted: look whether"),
            (1.25, 0.0, "exactly 1.25 for 300 updates in a row and its gradient is 0: look whether every label is"),
            (1.25, 0.5, "all the same, look at the learning rate (0.1) and whether the optimizer holds the model's"),
        ],
    )
    def test_one_that_stands_still_is_said_once(self, loss: float, grad_norm: float, words: str) -> None:
        ((step, message),) = said([2.0, *[loss] * 3 * SAME_UPDATES], grad_norm=grad_norm)
        assert step == SAME_UPDATES
        assert words in message
        assert "a mask of zeros" in message or grad_norm

    def test_it_is_said_once_although_it_moves_and_stands_again(self) -> None:
        assert len(said([*[0.5] * SAME_UPDATES, 0.4, *[0.3] * SAME_UPDATES])) == 1

    def test_almost_the_same_is_not_the_same(self) -> None:
        near = math.nextafter(0.5, 1.0)
        assert said([0.5, near] * SAME_UPDATES) == []

    def test_a_quantised_loss_may_be_equal_for_a_while(self) -> None:
        assert said([value for value in (0.5, 0.25) * 4 for _ in range(SAME_UPDATES - 1)]) == []

    def test_one_that_is_not_a_number_is_the_same_as_nothing(self) -> None:
        assert said([math.nan] * 2 * SAME_UPDATES) == []


def plateau(step: int) -> float:
    """Halved every eleven steps."""
    return 1e-2 * float(0.5 ** (step // 11))


class TestARateThatFalls:
    def test_by_the_loss_of_every_batch_it_is_said_at_once_wherever_the_run_ends(self) -> None:
        for end in (None, 200, 10**5):
            ((step, message),) = said(rates=steps(200, plateau), stepping="by_loss", end=end)
            assert step == 14 * 11
            assert (
                "fell from 0.01 to 6.1e-07 within 155 steps: ReduceLROnPlateau is handed the loss of every" in message
            )
            assert 'scheduler_interval="epoch"' in message

    @pytest.mark.parametrize("end", [None, 1000, 10**6])
    @pytest.mark.parametrize(
        "rate",
        [
            lambda step: 0.1 ** (1 + step // 30),
            lambda step: 0.95**step,
            lambda step: max(0.0, 0.1 * (1 - step / 50)),
        ],
        ids=["StepLR", "ExponentialLR", "PolynomialLR"],
    )
    def test_by_a_plan_in_epochs_it_is_said_once_it_has_stayed_there(
        self, rate: Callable[[int], float], end: int | None
    ) -> None:
        ((step, message),) = said(rates=steps(900, rate), end=end)
        fell = next(step for step in range(900) if rate(step) < NOTHING * rate(0))
        assert step == fell + STAYS_STEPS
        assert "and stays there: the scheduler steps with every batch: if its numbers count epochs, write" in message
        assert 'scheduler_interval="epoch"' in message

    def test_a_schedule_that_is_far_too_short_for_a_long_run_is_said(self) -> None:
        rates = steps(5000, lambda step: max(0.0, 1 - step / 4000))
        assert [step for step, _ in said(rates=rates, end=100_000)] == [4000 + STAYS_STEPS]
        assert said(rates=rates) == []
        assert said(rates=rates, end=50_000) == []


def one_cycle(step: int, total: int) -> float:
    """A warm-up from 1/25, then a cosine down to 4e-6 of the highest rate."""
    peak = int(0.3 * total)
    if step < peak:
        return 0.04 + 0.96 * (1 - math.cos(math.pi * step / peak)) / 2
    return 4e-6 + (1 + math.cos(math.pi * (step - peak) / (total - peak))) / 2


SOUND: dict[str, tuple[list[float], int | None]] = {
    "constant": (steps(2000, lambda step: 1e-3), None),
    "warm-up from nothing": (steps(5000, lambda step: step / 5000), 5000),
    "slow warm-up from nothing": (steps(5000, lambda step: (step / 5000) ** 4), None),
    "one cycle": (steps(1000, lambda step: one_cycle(step, 1000)), 1000),
    "one cycle of which the end is not known": (steps(800, lambda step: one_cycle(step, 800)), None),
    "cosine to zero": (steps(900, lambda step: 1 + math.cos(math.pi * step / 900)), 900),
    "cosine to zero and up again": (steps(5000, lambda step: 1 + math.cos(math.pi * step / 900)), None),
    "short restarts": (steps(3000, lambda step: 1 + math.cos(math.pi * (step % 40) / 40)), None),
    "long restarts": (steps(3000, lambda step: 1 + math.cos(math.pi * (step % 999) / 999)), 10**6),
    "restarts in the first part of a long run": (
        steps(30_000, lambda step: 1 + math.cos(math.pi * (step % 3000) / 3000)),
        10**6,
    ),
    "linear to zero": (steps(900, lambda step: 1 - step / 900), 900),
    "a plan that ends early, then steps at zero": (steps(900, lambda step: max(0.0, 1 - step / 500)), 900),
    "exponential to a millionth at the end": (steps(900, lambda step: 1e-6 ** (step / 900)), 900),
}


@pytest.mark.parametrize(("rates", "end"), SOUND.values(), ids=SOUND)
def test_a_rate_that_is_meant_is_not_said(rates: list[float], end: int | None) -> None:
    assert said(rates=rates, end=end) == []


def test_a_slow_plateau_is_none_of_it() -> None:
    assert said(rates=steps(5000, lambda step: 0.1 ** (step // 300)), stepping="by_loss") == []


def test_a_group_that_is_frozen_beside_another_is_meant() -> None:
    frozen = [0.1] * 100 + [0.0] * 500
    assert said(rates=frozen, other_group=0.1) == []
    assert [step for step, _ in said(rates=frozen)] == [100 + STAYS_STEPS]


def test_without_a_scheduler_that_steps_with_every_batch_no_rate_is_said() -> None:
    assert said(rates=steps(EARLY_STEPS, plateau), stepping=None) == []
    assert said(rates=[None] * 500) == []


def test_a_run_that_went_back_to_a_higher_rate_begins_to_count_anew() -> None:
    low = [0.0] * (STAYS_STEPS - 1)
    assert said(rates=[1.0, *low, 1.0, *low, 1.0]) == []
