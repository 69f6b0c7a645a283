"""Whether healthy batches, applied in the place of the suspected ones, do as much harm."""

from __future__ import annotations

import math

import pytest
import torch
from support.exact import assert_same
from support.examined import Examined

from supervisor.experiments.control import would_harm_too
from supervisor.experiments.harm import Harm
from supervisor.experiments.stretch import Stretch
from supervisor.training.optimizers import members
from supervisor.training.state import TrainingState

SOUND, AFTER = Harm(False, 0.25, 0.25, canaries=4), Harm(True, 0.25, 9.0, severe=True, canaries=4)


def asked(setting: Examined, *, accepted: int = 0, after: Harm = AFTER, before: Harm = SOUND) -> bool:
    stretch = setting.stretch()
    for _ in range(accepted):
        earlier = setting.on_trial()
        stretch.accept(earlier.seen, earlier.batches)
    attempt = setting.on_trial()
    setting.parts.subject.restore(pinned(stretch))
    return would_harm_too(setting.examining, attempt, stretch, before, after, accepted + 1)


def pinned(stretch: Stretch) -> TrainingState:
    assert stretch.pin is not None
    return stretch.pin


def faster(setting: Examined, factor: float) -> None:
    """Each update is made at so many times its rate, and nobody is told."""
    optimizer = members(setting.parts.subject.optimizer)[0]

    def before(*_: object) -> None:
        optimizer.param_groups[0]["lr"] *= factor

    def after(*_: object) -> None:
        optimizer.param_groups[0]["lr"] /= factor

    optimizer.register_step_pre_hook(before)
    optimizer.register_step_post_hook(after)


def test_healthy_batches_do_none_where_nothing_else_is_wrong() -> None:
    setting = Examined()
    assert not asked(setting)
    (event,) = setting.heard.named("experiment")
    assert (event.kind, event.batches, event.verdict) == ("fork", 1, "unharmed")
    assert event.why == "1 updates of healthy batches from the same state do not do such harm too"


def test_they_do_where_each_update_goes_too_far() -> None:
    setting = Examined()
    faster(setting, 60.0)
    assert asked(setting, accepted=1, after=Harm(True, 0.25, 1.0, severe=True, canaries=4))
    (event,) = setting.heard.named("experiment")
    assert (event.batches, event.verdict) == (2, "harmed")


def test_harm_of_theirs_that_is_far_less_than_that_of_the_suspected_ones_acquits_nobody() -> None:
    setting = Examined()
    faster(setting, 60.0)
    assert not asked(setting, accepted=1, after=Harm(True, 0.25, 1e6, severe=True, canaries=4))


def test_what_is_not_finite_is_harm_as_large_as_any() -> None:
    setting = Examined()
    faster(setting, 1e38)
    assert asked(setting, after=Harm(True, 0.25, math.nan, severe=True, canaries=4))


def test_it_leaves_no_trace() -> None:
    setting = Examined()
    stretch, attempt = setting.stretch(), setting.on_trial()
    setting.parts.subject.restore(pinned(stretch))
    before = setting.pin().to_tree()
    would_harm_too(setting.examining, attempt, stretch, SOUND, AFTER, 1)
    assert_same(setting.pin().to_tree(), before)


@pytest.mark.parametrize("error", [ValueError("no loss"), torch.OutOfMemoryError("full")])
def test_a_fork_that_raises_says_nothing(error: Exception) -> None:
    setting = Examined()

    def raises() -> float:
        raise error

    stretch, attempt = setting.stretch(), setting.on_trial()
    setting.parts.subject.restore(pinned(stretch))
    setting.fault = raises
    after = Harm(True, 0.25, math.nan, severe=True, canaries=4)
    assert not would_harm_too(setting.examining, attempt, stretch, SOUND, after, 1)
    assert [event.verdict for event in setting.heard.named("experiment")] == ["unknown"]


def test_it_is_made_at_the_rate_of_the_trial_the_cut_of_the_ladder_included() -> None:
    after = Harm(True, 0.25, 1.0, severe=True, canaries=4)
    found = []
    for cut in (1.0, 1e-3):
        setting = Examined()
        faster(setting, 60.0)
        stretch, attempt = setting.stretch(), setting.on_trial()
        setting.parts.subject.restore(pinned(stretch))
        attempt.cut = cut
        found.append(would_harm_too(setting.examining, attempt, stretch, SOUND, after, 2))
    assert found == [True, False]


def test_a_stop_waits_for_it() -> None:
    setting = Examined(stopping=lambda: True)
    faster(setting, 60.0)
    assert asked(setting, accepted=1, after=Harm(True, 0.25, 1.0, severe=True, canaries=4))


def test_it_goes_no_further_than_the_stretch_whose_gradients_somebody_clipped() -> None:
    setting = Examined()
    faster(setting, 60.0)
    stretch, attempt = setting.stretch(), setting.on_trial()
    stretch.norm = 1e-3
    after = Harm(True, 0.25, 1.0, severe=True, canaries=4)
    assert not would_harm_too(setting.examining, attempt, stretch, SOUND, after, 1)


@pytest.mark.parametrize("how", ["no replay", "no canaries"])
def test_where_it_cannot_be_asked_the_batches_are_not_acquitted(how: str) -> None:
    setting = Examined(replayed=how != "no replay")
    faster(setting, 60.0)
    stretch, attempt = setting.stretch(), setting.on_trial()
    if how == "no canaries":
        stretch.canaries = ()
    assert not would_harm_too(setting.examining, attempt, stretch, SOUND, AFTER, 1)
    assert setting.heard.named("experiment") == []
