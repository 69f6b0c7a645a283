"""The drift detector: a slow climb of the loss is divergence; a jump to another level, a burst or a restart is not."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterable, Sequence
from dataclasses import replace

import pytest

from supervisor.policy import load_policy
from supervisor.records import Observation, Signal, SignalName
from supervisor.signals import Detectors

# Without experiments: with them, a finding of this detector is only a suspicion.
POLICY = load_policy({"detect": {"spike": None, "weights": None}, "experiments": None})
SPAN = 24 * 4
"""Updates from the middle of the first block of a climb to the middle of its last."""

OK = Observation(step=0, update=0, loss=1.0, grad_norm=1.0)


def noise(count: int, seed: int = 0, spread: float = 0.1) -> list[float]:
    draw = random.Random(seed)
    return [math.exp(draw.gauss(0, spread)) for _ in range(count)]


def climb(count: int, factor_a_span: float, start: int = 0) -> list[float]:
    """Noise around 1 that begins to climb at `start`, by a factor every `SPAN` updates."""
    rate = math.log(factor_a_span) / SPAN
    return [value * math.exp(rate * max(0, i - start)) for i, value in enumerate(noise(count))]


def found(
    losses: Iterable[float], detectors: Detectors | None = None, rates: Sequence[float | None] | None = None
) -> list[tuple[int, Signal]]:
    """Every finding with its update; what is found is flagged, the rest accepted."""
    detectors = detectors or Detectors(POLICY)
    signals = []
    for number, loss in enumerate(losses):
        observation = replace(OK, update=number, loss=loss, lr=None if rates is None else rates[number])
        here = detectors.inspect(observation)
        signals += [(number, signal) for signal in here]
        (detectors.flagged if here else detectors.accept)(observation)
    return signals


def test_a_slow_climb_is_divergence_and_says_from_where() -> None:
    (first, signal), *_ = found(climb(480, 4.0, start=240))
    assert 240 + SPAN / 2 < first <= 240 + 2 * SPAN
    assert signal.name is SignalName.DIVERGENCE
    start, end = float(signal.details["climbed_from"]), float(signal.details["median"])  # type: ignore[arg-type]
    assert end > 2 * start
    assert start == pytest.approx(1.0, rel=0.5)


def test_a_climb_of_a_loss_below_zero_is_found_too() -> None:
    likelihoods = [-3.0 + 0.03 * max(0, i - 240) + 0.1 * math.log(v) for i, v in enumerate(noise(480))]
    assert found(likelihoods)
    assert not found(likelihoods[:240])


@pytest.mark.parametrize("factor", [0.2, 1.0, 1.3])
def test_a_loss_that_falls_stays_or_hardly_climbs_is_none(factor: float) -> None:
    assert found(climb(2000, factor)) == []


def test_a_jump_to_another_level_is_none() -> None:
    assert found([*noise(300), *(5 * value for value in noise(300, seed=1))]) == []


def test_a_short_burst_is_none() -> None:
    assert found([*noise(300), *(20 * value for value in noise(40, seed=1)), *noise(300, seed=2)]) == []


def test_a_climb_within_the_noise_is_none() -> None:
    wide = [value * math.exp(math.log(2.2) / SPAN * i) for i, value in enumerate(noise(SPAN + 24, spread=2.0))]
    assert found(wide) == []


def test_a_climb_after_a_warm_restart_is_what_the_restart_does() -> None:
    losses = climb(240 + 2 * SPAN, 4.0, start=240)
    cycle = [0.1 * (1 + math.cos(math.pi * (i % 60) / 60)) / 2 for i in range(len(losses))]
    assert found(losses, rates=cycle) == []


def test_it_is_told_once_and_the_next_climb_again() -> None:
    first, second = (number for number, _ in found(climb(240 + 4 * SPAN + 48, 4.0, start=240))[:2])
    assert second - first >= SPAN


def test_a_climb_that_is_only_observed_is_told_once() -> None:
    detectors, told = Detectors(POLICY), []
    for number, loss in enumerate(climb(240 + 2 * SPAN - 24, 4.0, start=240)):
        observation = replace(OK, update=number, loss=loss)
        told += [number] if detectors.inspect(observation) else []
        detectors.accept(observation)
    assert len(told) == 1


def test_a_state_that_was_put_back_begins_anew() -> None:
    losses = climb(480, 4.0, start=240)
    (first, _), *_ = found(losses)
    detectors = Detectors(POLICY)
    assert found(losses[:first], detectors) == []
    detectors.restored()
    assert found(losses[first : first + SPAN - 24], detectors) == []


@pytest.mark.parametrize("bad", [math.nan, math.inf, 1e30])
def test_flagged_losses_change_nothing(bad: float) -> None:
    losses = climb(480, 4.0, start=240)
    detectors = Detectors(POLICY)
    before = found(losses[:300], detectors)
    saved = detectors.state_dict()["loss_drift"]
    for _ in range(50):
        detectors.flagged(replace(OK, loss=bad, gradient_elements_finite=False))
    assert detectors.state_dict()["loss_drift"] == saved
    assert [*before, *((n + 300, s) for n, s in found(losses[300:], detectors))] == found(losses)


def test_batches_that_come_again_feed_nothing() -> None:
    detectors = Detectors(POLICY)
    found(noise(30), detectors)
    saved = detectors.state_dict()
    detectors.accept(replace(OK, loss=9.0, replayed=True))
    assert detectors.state_dict() == saved


def test_it_survives_json_and_goes_on_alike() -> None:
    losses = climb(480, 4.0, start=240)
    detectors, back = Detectors(POLICY), Detectors(POLICY)
    assert found(losses[:310], detectors) == []
    back.load_state_dict(json.loads(json.dumps(detectors.state_dict())))
    rest = found(losses[310:], back)
    assert rest == found(losses[310:], detectors)
    assert rest


def test_it_can_be_turned_off() -> None:
    assert (
        found(climb(480, 4.0), Detectors(load_policy({"detect": {"spike": None, "drift": None}, "experiments": None})))
        == []
    )
