"""What canaries say of a fork that was trained on the coming batches."""

from __future__ import annotations

import math

from support.examined import Examined

from supervisor.experiments.fork import Forks
from supervisor.experiments.harm import Harm
from supervisor.experiments.healing import UPDATES, after_healing


def healed(setting: Examined, updates: int = UPDATES) -> Harm | None:
    levels, settings = setting.detectors.levels, setting.policy.experiments
    assert levels is not None
    assert settings is not None
    forks = Forks(setting.parts.subject, setting.parts.executor, setting.pin(), lambda: False)
    coming = [(setting.batches[number % 4],) for number in range(updates)]
    with forks.undone():
        return after_healing(forks, coming, setting.examining.usable(), levels, settings)


def test_the_more_updates_the_less_is_left_of_the_harm() -> None:
    setting = Examined()
    setting.damage(2.0)
    few, more = healed(setting, 2), healed(setting, 8)
    assert few is not None
    assert more is not None
    assert few.now > more.now
    assert few.before == more.before


def test_the_rate_and_the_clipping_are_those_of_the_training() -> None:
    setting = Examined()
    setting.damage(2.0)
    usual = healed(setting)
    setting.parts.executor.lr_factor = 0.1
    slower = healed(setting)
    setting.parts.executor.lr_factor, setting.parts.executor.max_norm = 1.0, 0.01
    clipped = healed(setting)
    assert usual is not None
    assert slower is not None
    assert clipped is not None
    assert usual.now < min(slower.now, clipped.now)


def test_where_a_loss_is_not_finite_nothing_is_said() -> None:
    setting = Examined()
    setting.fault = lambda: math.nan
    assert healed(setting) is None
