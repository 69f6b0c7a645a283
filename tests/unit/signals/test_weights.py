"""The watch on weights: a norm that falls too fast is divergence, however the checks are spaced."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from supervisor.policy import RecoveryPolicy, load_policy
from supervisor.records import Observation, Signal, SignalName
from supervisor.signals import Detectors

ALONE = {"spike": None, "drift": None}


def counting(policy: dict[str, Any]) -> RecoveryPolicy:
    """A policy without experiments: with them, a finding of this detector is only a suspicion."""
    return load_policy({**policy, "experiments": None})


DEFAULT = counting({"detect": ALONE})
POLICY = counting({"detect": {**ALONE, "weights": {"warmup_updates": 20}}})
OK = Observation(step=0, update=0, loss=1.0, grad_norm=1.0)
HALVING = 0.5**0.1


def seen(update: int, **norms: float) -> Observation:
    return replace(OK, step=update, update=update, weight_norms=norms or None)


def damaged(every: int, at: int, rate: float, *, steps: int = 10, until: int = 400) -> int | None:
    """Updates from the first damaged one to its finding, in a run whose state is checked `every` updates."""
    detectors, norm = Detectors(DEFAULT), 8.0
    for update in range(until):
        norm *= rate if at <= update < at + steps else 1.001
        observation = seen(update, w=norm, other=1.0) if (update + 1) % every == 0 else seen(update)
        if detectors.inspect(observation):
            return update - at + 1
        detectors.accept(observation)
    return None


@pytest.mark.parametrize("rate", [HALVING, 0.5], ids=["halved over ten steps", "halved by each of ten steps"])
@pytest.mark.parametrize("every", [1, 5, 10, 12])
def test_weights_that_lose_half_in_ten_steps_are_found_within_25(every: int, rate: float) -> None:
    for at in range(60, 60 + 2 * every):
        delay = damaged(every, at, rate)
        assert delay is not None, at
        assert delay <= 25, at


def test_it_names_the_weight_and_its_norms() -> None:
    detectors = Detectors(POLICY)
    for update in range(9, 70, 10):
        detectors.accept(seen(update, a=2.0, b=4.0, c=1.0, d=1.0, e=1.0))
    (signal,) = detectors.inspect(seen(79, a=1.9, b=1.0, c=0.6, d=0.6, e=0.6))
    assert signal.name is SignalName.DIVERGENCE
    assert signal.details == {
        "tensors": ("b", "c", "d"),
        "tensor_count": 4,
        "weight_norm": 1.0,
        "weight_norm_before": 4.0,
    }


def test_growth_and_weight_decay_are_none() -> None:
    for rate in (1.5, 1.0, 0.99):
        detectors, norm = Detectors(POLICY), 1.0
        for update in range(9, 1000, 10):
            norm *= rate**10 if rate < 1 else rate
            assert detectors.inspect(seen(update, w=norm)) == ()
            detectors.accept(seen(update, w=norm))


def test_checks_that_are_far_apart_are_judged_by_the_rate() -> None:
    detectors = Detectors(POLICY)
    detectors.accept(seen(99, w=1.0))
    detectors.accept(seen(199, w=1.0))
    assert detectors.inspect(seen(299, w=0.5)) == ()
    assert [signal.name for signal in detectors.inspect(seen(299, w=0.1))] == [SignalName.DIVERGENCE]


def test_the_first_updates_are_not_judged() -> None:
    detectors = Detectors(DEFAULT)
    detectors.accept(seen(0, w=10.0))
    assert detectors.inspect(seen(59, w=0.1)) == ()
    assert detectors.inspect(seen(60, w=0.1)) != ()


def test_nor_are_they_when_the_run_went_back_to_them() -> None:
    detectors = Detectors(DEFAULT)
    for step in range(9, 100, 10):
        detectors.accept(seen(step, w=10.0))
    detectors.restored()
    detectors.accept(replace(seen(100, w=10.0), step=9))
    assert detectors.inspect(replace(seen(140, w=0.1), step=49)) == ()
    assert detectors.inspect(replace(seen(160, w=0.1), step=69)) != ()


def checked(detectors: Detectors, *norms: float, start: int = 9) -> list[tuple[Signal, ...]]:
    signals = []
    for number, norm in enumerate(norms):
        signals.append(detectors.inspect(seen(start + 10 * number, w=norm)))
        detectors.accept(seen(start + 10 * number, w=norm))
    return signals


def test_norms_that_jump_back_with_a_restored_state_alarm_nobody_and_it_stays_sharp() -> None:
    detectors = Detectors(POLICY)
    assert not any(checked(detectors, 1.0, 2.0, 4.0, *[8.0] * 12))
    detectors.restored()
    assert not any(checked(detectors, 1.0, 1.0, start=169))
    assert detectors.inspect(seen(189, w=0.6)) != ()


def test_a_fall_like_those_before_is_none_and_one_unlike_them_is() -> None:
    detectors = Detectors(POLICY)
    swinging = [3.0 if number % 2 else 2.0 for number in range(8)]
    assert not any(checked(detectors, *swinging, 1.85))
    assert detectors.inspect(seen(99, w=0.7)) != ()


def test_a_redrawn_model_begins_anew() -> None:
    detectors = Detectors(POLICY)
    checked(detectors, 4.0, 4.0, 4.0, 4.0)
    detectors.forget()
    rates = detectors.state_dict()["odd_rate"]
    assert detectors.state_dict() == {**Detectors(POLICY).state_dict(), "odd_rate": rates}
    assert not any(checked(detectors, 2.0, 1.0, start=49))


def test_a_flagged_check_is_never_kept() -> None:
    detectors = Detectors(POLICY)
    checked(detectors, 4.0, 4.0, 4.0, 4.0)
    saved = detectors.state_dict()
    for update in range(49, 100, 10):
        detectors.flagged(seen(update, w=2.0))
        detectors.accept(replace(seen(update, w=2.0), replayed=True))
    assert detectors.state_dict() == saved


def test_a_weight_that_comes_later_is_taken_up() -> None:
    detectors = Detectors(POLICY)
    checked(detectors, 4.0, 4.0, 4.0, 4.0)
    assert detectors.inspect(seen(49, w=4.0, late=1.0)) == ()
    detectors.accept(seen(49, w=4.0, late=1.0))
    assert detectors.inspect(seen(59, w=4.0, late=0.5)) != ()


def test_it_survives_json() -> None:
    detectors, back = Detectors(POLICY), Detectors(POLICY)
    checked(detectors, 4.0, 4.0, 4.0, 4.0)
    back.load_state_dict(json.loads(json.dumps(detectors.state_dict())))
    assert back.state_dict() == detectors.state_dict()
    assert back.inspect(seen(49, w=2.0)) == detectors.inspect(seen(49, w=2.0)) != ()


def test_bounds_are_the_policys() -> None:
    wide = counting({"detect": {**ALONE, "weights": {"fall": 0.6, "warmup_updates": 20}}})
    detectors = Detectors(wide)
    checked(detectors, 4.0, 4.0, 4.0, 4.0)
    assert detectors.inspect(seen(49, w=1.7)) == ()
    assert detectors.inspect(seen(49, w=1.5)) != ()
    off = Detectors(counting({"detect": {**ALONE, "weights": None}}))
    checked(off, 4.0, 4.0, 4.0, 4.0)
    assert off.inspect(seen(49, w=0.001)) == ()
