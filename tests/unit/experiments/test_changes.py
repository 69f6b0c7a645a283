"""What follows where many odd updates in a row harmed nothing."""

from __future__ import annotations

import pytest
from support.exact import assert_same
from support.examined import Examined

from supervisor.evidence import Blame
from supervisor.experiments.changes import Changes
from supervisor.experiments.harm import Harm
from supervisor.experiments.stretches import Stretches
from supervisor.update import Attempt

UNHARMED = Harm(False, 0.25, 0.25, canaries=4)
RISEN = Harm(False, 0.25, 2.5, canaries=4, risen=True)
"""Losses that rose tenfold."""


class Long:
    """A stretch of which the last update was just applied."""

    def __init__(
        self, *, pinned: bool = True, then: str = "accept", count: int = 3, damage: float = 0.0, trained: float = 0.0
    ) -> None:
        self.setting = Examined(experiments={"shift": {"then": then}})
        self.stretches = Stretches(self.setting.parts.subject, self.setting.detectors)
        self.changes = Changes(self.setting.examining, self.stretches)
        canaries = self.setting.examining.usable()
        self.setting.damage(damage)
        self.before = self.setting.pin().to_tree()["parameters"]
        self.stretch = self.stretches.open = self.setting.stretch(pinned=pinned)
        self.stretch.canaries = canaries
        self.setting.damage(trained)
        for _ in range(count):
            self.attempt = self.setting.on_trial()
            self.stretch.accept(self.attempt.seen, self.attempt.batches)

    def end(self, after: Harm = UNHARMED) -> bool:
        return self.changes.long_stretch(self.attempt, self.stretch, after)

    def shifts(self) -> list[tuple[int, bool]]:
        return [(event.updates, event.accepted) for event in self.setting.heard.named("data_shift")]

    def warnings(self) -> list[str]:
        return [event.message for event in self.setting.heard.named("warning")]


def windows_begin_anew(long: Long) -> bool:
    return long.setting.detectors.levels is None and not long.setting.examining.usable() and long.stretches.open is None


def odd(attempt: Attempt, loss: float) -> Attempt:
    attempt.seen.loss = loss
    return attempt


def test_the_data_have_changed_and_the_training_goes_on_with_them() -> None:
    long = Long()
    odd(long.attempt, 30.0)
    assert long.end()
    assert long.shifts() == [(3, True)]
    assert long.warnings() == []
    assert windows_begin_anew(long)
    assert long.attempt.suspicions == ()


def test_under_a_policy_that_halts_the_run_goes_back_to_before_them() -> None:
    long = Long(then="halt")
    odd(long.attempt, 30.0)
    assert not long.end()
    assert long.shifts() == [(3, False)]
    assert_same(long.setting.pin().to_tree()["parameters"], long.before)
    assert (long.attempt.undone, long.attempt.gone_back_over) == (True, 2)
    evidence = long.attempt.evidence
    assert evidence is not None
    assert (evidence.blame, evidence.shifted) == (Blame.DATA, True)


def test_without_a_pin_nothing_can_be_undone_and_they_are_accepted() -> None:
    long = Long(pinned=False, then="halt")
    odd(long.attempt, 30.0)
    assert long.end()
    assert long.shifts() == [(3, True)]


@pytest.mark.parametrize("then", ["accept", "halt"])
def test_where_the_losses_of_known_batches_were_as_high_before_it_is_not_the_data(then: str) -> None:
    long = Long(then=then, damage=1.5)
    odd(long.attempt, 2.0)
    assert long.end(RISEN)
    assert long.shifts() == []
    (said,) = long.warnings()
    assert said.startswith("3 odd updates in a row, and it is not that the data have changed")
    assert "is 2.5, and was 0.25" in said
    assert windows_begin_anew(long)


def test_where_these_batches_themselves_have_raised_them_it_is() -> None:
    long = Long(trained=1.5)
    applied = long.setting.pin().to_tree()["parameters"]
    odd(long.attempt, 2.0)
    assert long.end(RISEN)
    assert long.shifts() == [(3, True)]
    assert_same(long.setting.pin().to_tree()["parameters"], applied)


def test_where_they_rose_by_far_less_it_is() -> None:
    long = Long()
    odd(long.attempt, 300.0)
    assert long.end(RISEN)
    assert long.shifts() == [(3, True)]


def test_what_was_extreme_has_to_be_learnt() -> None:
    long = Long(count=6)
    long.stretch.extreme = True
    # The same inputs with the opposite of what was learnt cannot be learnt beside it.
    x_BF, y_BO = long.setting.batches[0]
    long.stretch.tried = [((x_BF, -3 * y_BO),)] * 6
    assert not long.end()
    assert_same(long.setting.pin().to_tree()["parameters"], long.before)
    assert (long.stretch.skipping, long.stretch.left_out) == (True, 6)
    assert long.attempt.evidence is not None
    assert "not learnt" in long.attempt.evidence.why
    assert long.shifts() == []
