"""Whether a harmed state is lost: it heals by training, what is trained for has moved, or the run has to go back."""

from __future__ import annotations

import pytest
from support.exact import assert_same
from support.examined import Examined
from support.traces import all_of

from supervisor.experiments.canaries import Canary
from supervisor.experiments.harm import Harm
from supervisor.experiments.verdict import PERSISTS, SAME_PLACE, Verdict, verdict
from supervisor.update import Attempt

HEALING, LASTING = 0.9, 40.0
"""The bias moved so far: eight updates make up for the one, and not for the other."""


def looked(setting: Examined, canaries: tuple[Canary, ...] | None = None) -> tuple[Attempt, Harm, tuple[Canary, ...]]:
    attempt = setting.parts.measured(setting.batches[0], place=setting.place())
    setting.parts.subject.drop_gradients()
    canaries = setting.examining.usable() if canaries is None else canaries
    setting.examining.state_changed()
    said = setting.examining.before_update(attempt, canaries)
    assert said is not None
    return attempt, said, canaries


def found(setting: Examined, canaries: tuple[Canary, ...] | None = None) -> Verdict:
    attempt, said, canaries = looked(setting, canaries)
    before = all_of(setting.parts.subject)
    verdict_ = verdict(setting.examining, attempt, said, canaries)
    assert_same(all_of(setting.parts.subject), before)
    return verdict_


def test_a_sound_state_is_sound() -> None:
    setting = Examined(drawn=True)
    assert found(setting) is Verdict.SOUND
    assert setting.examining.slightly_harmed == 0


def test_a_harm_that_a_few_updates_make_up_for_heals_and_the_batches_come_again() -> None:
    setting = Examined(drawn=True)
    setting.damage(HEALING)
    assert looked(setting)[1].severe
    assert found(setting) is Verdict.HEALS
    assert setting.data.next() is setting.batches[0]
    assert [(event.kind, event.verdict) for event in setting.heard.named("experiment")][-1] == ("fork", "unharmed")


def test_one_that_they_do_not_is_lost() -> None:
    setting = Examined(drawn=True)
    setting.damage(LASTING)
    assert found(setting) is Verdict.LOST
    assert setting.heard.named("experiment")[-1].verdict == "harmed"
    assert setting.examining.lost_at == setting.number - 1


def test_a_stop_waits_for_it() -> None:
    setting = Examined(drawn=True, stopping=lambda: True)
    setting.damage(HEALING)
    assert found(setting) is Verdict.HEALS


@pytest.mark.parametrize("changes", [{}, {"drawn": True, "snapshot": {"keep": 0}}])
def test_where_no_fork_can_be_asked_a_severe_harm_is_lost(changes: dict[str, object]) -> None:
    setting = Examined(**changes)  # type: ignore[arg-type]
    setting.damage(HEALING)
    assert found(setting) is Verdict.LOST


def test_a_harm_that_comes_back_at_the_same_step_after_going_back_is_what_is_trained_for_now() -> None:
    setting = Examined(drawn=True)
    setting.damage(LASTING)
    canaries = setting.examining.usable()
    assert found(setting, canaries) is Verdict.LOST
    setting.number -= SAME_PLACE
    assert found(setting, canaries) is Verdict.MOVED
    (event,) = setting.heard.named("data_shift")
    assert event.accepted
    # What was usual says nothing any more.
    assert setting.examining.usable() == ()
    assert setting.detectors.levels is None


def test_elsewhere_it_is_another_harm() -> None:
    setting = Examined(drawn=True)
    setting.damage(LASTING)
    canaries = setting.examining.usable()
    assert found(setting, canaries) is Verdict.LOST
    setting.number += 2 * SAME_PLACE
    assert found(setting, canaries) is Verdict.LOST


def test_where_a_fork_makes_it_worse_it_is_lost_wherever_it_comes_back() -> None:
    setting = Examined(drawn=True)
    setting.damage(LASTING)
    canaries = setting.examining.usable()
    assert found(setting, canaries) is Verdict.LOST
    setting.number -= 1
    for group in setting.parts.subject.optimizer.param_groups:
        group["lr"] = 10.0
    assert found(setting, canaries) is Verdict.LOST


def test_a_little_harm_heals_unless_it_lasts() -> None:
    setting = Examined()
    setting.damage(0.42)
    assert not looked(setting)[1].severe
    assert [found(setting) for _ in range(PERSISTS)] == [Verdict.HEALS] * (PERSISTS - 1) + [Verdict.LOST]


def test_what_heals_each_time_is_lost_in_the_end() -> None:
    setting = Examined(drawn=True)
    setting.damage(HEALING)
    said = [found(setting) for _ in range(2 * PERSISTS)]
    assert said == [Verdict.HEALS] * (2 * PERSISTS - 1) + [Verdict.LOST]
