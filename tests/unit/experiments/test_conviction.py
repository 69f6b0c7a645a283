"""A trial that did harm: what is undone, and who is to blame."""

from __future__ import annotations

from typing import Any

import pytest
from support.exact import assert_same
from support.examined import Examined

from supervisor.evidence import Blame, Evidence
from supervisor.experiments.conviction import convict_state, convict_stretch, convict_update
from supervisor.experiments.harm import Harm
from supervisor.experiments.verdict import PERSISTS
from supervisor.records import Cause, CauseKind, Signal, SignalName
from supervisor.training.optimizers import members
from supervisor.training.tree import clone
from supervisor.update import Attempt

SEVERE, SLIGHT = Harm(True, 0.25, 9.0, severe=True), Harm(True, 0.25, 0.45)
LITTLE = 0.42
"""Moves the bias so that canaries are harmed, but not severely."""


def state(setting: Examined) -> dict[str, Any]:
    tree = setting.pin().to_tree()
    held: dict[str, Any] = clone({name: tree[name] for name in ("parameters", "buffers", "optimizer")})
    return held


class TestTheData:
    def test_where_the_state_before_it_is_sound_they_are_to_blame_and_it_is_undone(self) -> None:
        setting = Examined()
        stretch, before = setting.stretch(), state(setting)
        attempt = setting.on_trial()
        assert convict_stretch(setting.examining, attempt, stretch, SEVERE)
        assert_same(state(setting), before)
        assert (attempt.undone, attempt.gone_back_over, attempt.odd) == (True, 0, False)
        assert [signal.name for signal in attempt.signals] == ["loss_spike"]
        assert attempt.evidence is not None
        assert attempt.evidence.blame is Blame.DATA
        assert attempt.evidence.why.startswith("applied on trial, it harmed batches that were healthy: ")
        assert "is 9, and was 0.25" in attempt.evidence.why

    def test_it_is_called_by_what_is_odd_about_it(self) -> None:
        setting = Examined()
        stretch = setting.stretch()
        attempt = setting.on_trial(grad_norm=9.0, median=1.0, score=9.0)
        convict_stretch(setting.examining, attempt, stretch, SEVERE)
        assert [signal.name for signal in attempt.signals] == ["gradient_spike"]

    def test_odd_ones_are_left_out_from_here_on_and_those_that_were_accepted_too(self) -> None:
        setting = Examined()
        stretch, before = setting.stretch(), state(setting)
        for _ in range(2):
            earlier = setting.on_trial()
            stretch.accept(earlier.seen, earlier.batches)
        attempt = setting.on_trial()
        assert convict_stretch(setting.examining, attempt, stretch, SEVERE)
        assert attempt.gone_back_over == 2
        assert (stretch.skipping, stretch.left_out, stretch.accepted) == (True, 3, [])
        assert_same(state(setting), before)
        assert attempt.evidence is not None
        assert "it and those before it harmed" in attempt.evidence.why

    def test_slight_harm_that_lasted_is_enough(self) -> None:
        setting = Examined()
        stretch = setting.stretch()
        stretch.harmed = PERSISTS
        attempt = setting.on_trial()
        assert convict_stretch(setting.examining, attempt, stretch, SLIGHT)
        assert attempt.evidence is not None
        assert attempt.evidence.blame is Blame.DATA

    def test_so_it_is_where_the_state_before_it_cannot_be_tried(self) -> None:
        setting = Examined()
        stretch, attempt = setting.stretch(), setting.on_trial()

        def raises() -> float:
            raise ValueError("no loss")

        setting.fault = raises
        assert convict_stretch(setting.examining, attempt, stretch, SEVERE)
        assert attempt.evidence is not None
        assert attempt.evidence.blame is Blame.DATA


class TestAllBatches:
    """What every batch would do, or what was there before, is not the batch's."""

    def test_harm_of_which_the_most_was_there_before_is_not_the_datas(self) -> None:
        setting = Examined(drawn=True)
        canaries = setting.stretch(pinned=False).canaries
        setting.damage(0.35)
        stretch = setting.stretch()
        stretch.canaries = canaries
        before = setting.examining.before_update(setting.on_trial(), canaries)
        assert before is not None
        assert not before.harmed
        attempt = setting.on_trial()
        applied = state(setting)
        # A little more than what was there; a rise of a tenth of what was learnt is severe.
        after = Harm(True, before.before, before.now + 0.9 * before.rise, severe=True, canaries=4)
        assert not convict_stretch(setting.examining, attempt, stretch, after)
        assert attempt.odd
        assert_same(state(setting), applied)
        assert not stretch.skipping

    def test_nor_is_what_updates_of_healthy_batches_do_as_well(self) -> None:
        setting = Examined()
        optimizer = members(setting.parts.subject.optimizer)[0]
        stretch = setting.stretch()
        before = state(setting)
        optimizer.param_groups[0]["lr"] *= 200.0
        stretch.pin = setting.pin()
        attempt = setting.on_trial()
        assert convict_stretch(setting.examining, attempt, stretch, SEVERE)
        assert [signal.name for signal in attempt.signals] == ["divergence"]
        assert attempt.evidence is not None
        assert attempt.evidence.blame is Blame.STATE
        assert "whichever batch comes" in attempt.evidence.why
        assert_same(state(setting)["parameters"], before["parameters"])
        assert not stretch.skipping


class TestTheState:
    def test_where_it_was_harmed_before_the_update_it_is_to_blame(self) -> None:
        setting = Examined()
        canaries = setting.stretch(pinned=False).canaries
        setting.damage()
        stretch, before = setting.stretch(), state(setting)
        stretch.canaries = canaries
        attempt = setting.on_trial()
        assert convict_stretch(setting.examining, attempt, stretch, SEVERE)
        assert_same(state(setting), before)
        assert [signal.name for signal in attempt.signals] == ["divergence"]
        assert attempt.evidence is not None
        assert (attempt.evidence.blame, attempt.evidence.finite) == (Blame.STATE, True)
        assert "before it" in attempt.evidence.why
        assert not stretch.skipping

    def test_a_little_harm_from_before_it_is_the_trainings_own_and_the_update_stands(self) -> None:
        setting = Examined()
        setting.damage(LITTLE)
        stretch = setting.stretch()
        attempt = setting.on_trial()
        applied = state(setting)
        assert not convict_stretch(setting.examining, attempt, stretch, SEVERE)
        assert_same(state(setting), applied)
        assert (attempt.signals, attempt.evidence, attempt.undone, attempt.odd) == ((), None, False, True)
        assert setting.examining.slightly_harmed == 1

    def test_unless_it_lasts(self) -> None:
        setting = Examined()
        setting.damage(LITTLE)
        damaged = setting.pin()
        for _ in range(PERSISTS - 1):
            stretch = setting.stretch()
            assert not convict_stretch(setting.examining, setting.on_trial(), stretch, SLIGHT)
            setting.parts.subject.restore(damaged)
        stretch, attempt = setting.stretch(), setting.on_trial()
        assert convict_stretch(setting.examining, attempt, stretch, SLIGHT)
        assert attempt.evidence is not None
        assert attempt.evidence.blame is Blame.STATE

    def test_without_a_pin_it_is_to_blame_where_the_harm_is_severe_and_nothing_is_undone(self) -> None:
        setting = Examined()
        stretch = setting.stretch(pinned=False)
        attempt = setting.on_trial()
        applied = state(setting)
        assert convict_stretch(setting.examining, attempt, stretch, SEVERE)
        assert_same(state(setting), applied)
        assert (attempt.undone, attempt.odd) == (False, False)
        assert [signal.name for signal in attempt.signals] == ["divergence"]
        assert attempt.evidence is not None
        assert attempt.evidence.blame is Blame.STATE
        assert "after it" in attempt.evidence.why

    def test_without_a_pin_an_update_that_harmed_a_little_stands(self) -> None:
        setting = Examined()
        attempt = setting.on_trial()
        assert not convict_stretch(setting.examining, attempt, setting.stretch(pinned=False), SLIGHT)
        assert (attempt.signals, attempt.evidence, attempt.odd) == ((), None, True)


RATE = {"lr": 2.0, "highest_lr": 0.05}


class TestTheRate:
    def test_one_that_did_harm_is_to_blame_and_is_refused(self) -> None:
        setting = Examined()
        stretch, before = setting.stretch(), state(setting)
        attempt = setting.on_trial(**RATE)
        assert convict_stretch(setting.examining, attempt, stretch, SEVERE)
        assert_same(state(setting), before)
        assert attempt.evidence is not None
        assert (attempt.evidence.blame, attempt.evidence.finite) == (Blame.SETUP, True)
        assert "the learning rate is 2, and was at most 0.05 before" in attempt.evidence.why
        assert [signal.name for signal in attempt.signals] == ["divergence"]
        assert not stretch.skipping
        assert setting.detectors.rate.factor(2.0) == 0.05 / 2.0

    def test_one_that_a_fork_makes_up_for_stands(self) -> None:
        setting = Examined(drawn=True)
        stretch = setting.stretch()
        attempt = setting.on_trial(**RATE)
        setting.damage(0.9)
        applied = state(setting)
        assert not convict_stretch(setting.examining, attempt, stretch, SEVERE)
        assert_same(state(setting), applied)
        assert (attempt.evidence, attempt.odd, attempt.undone, attempt.gone_back_over) == (None, True, False, 0)
        assert setting.detectors.rate.refusals == 0

    def test_without_a_pin_it_is_refused_all_the_same(self) -> None:
        setting = Examined()
        convict_stretch(setting.examining, setting.on_trial(**RATE), setting.stretch(pinned=False), SEVERE)
        assert setting.detectors.rate.refusals == 1

    def test_amid_other_odd_updates_it_is_to_blame_as_well_and_those_go_with_it(self) -> None:
        setting = Examined()
        stretch = setting.stretch()
        stretch.accept(setting.on_trial().seen, setting.batches[:1])
        attempt = setting.on_trial(**RATE)
        assert convict_stretch(setting.examining, attempt, stretch, SEVERE)
        assert attempt.evidence is not None
        assert (attempt.evidence.blame, attempt.gone_back_over) == (Blame.SETUP, 1)
        assert setting.detectors.rate.factor(2.0) < 1.0


class TestBeforeAnUpdate:
    def found(self, setting: Examined, by: float) -> tuple[bool, Attempt]:
        canaries = setting.examining.usable()
        setting.damage(by)
        attempt = setting.parts.measured(setting.batches[0], place=setting.place())
        odd = (Signal(SignalName.ODD_UPDATE, {"loss": 3.0}),)
        return convict_state(setting.examining, attempt, canaries, odd), attempt

    def test_a_damaged_state_is_found(self) -> None:
        found, attempt = self.found(Examined(), 40.0)
        assert found
        assert [signal.name for signal in attempt.signals] == ["divergence"]
        assert attempt.evidence is not None
        assert (attempt.evidence.blame, attempt.evidence.finite) == (Blame.STATE, True)

    def test_a_sound_one_is_not(self) -> None:
        found, attempt = self.found(Examined(), 0.0)
        assert (found, attempt.signals, attempt.evidence) == (False, (), None)

    def test_nor_one_that_cannot_be_tried(self) -> None:
        setting = Examined()
        canaries = setting.examining.usable()
        attempt = setting.parts.measured(setting.batches[0], place=setting.place())
        setting.fault = lambda: 1 / 0
        assert not convict_state(setting.examining, attempt, canaries, ())


class TestTheGradients:
    """Canaries are asked for their losses; the diagnosis runs an earlier batch backward, too."""

    def said(self, setting: Examined, earlier: bool | None) -> Evidence:
        attempt = setting.parts.measured(setting.batches[0], place=setting.place())
        attempt.undone = True
        attempt.signals = (Signal(SignalName.NONFINITE_GRADIENT, {}),)
        cause = Cause(CauseKind.BACKWARD_ONLY, "no gradient", 1, 1, earlier_batch_healthy=earlier)
        return convict_update(setting.examining, attempt, cause, setting.examining.usable())

    def test_that_are_bad_for_an_earlier_batch_as_well_are_not_the_datas(self) -> None:
        said = self.said(Examined(), earlier=False)
        assert said.blame is Blame.UNKNOWN
        assert said.why.startswith("the gradients of a batch that was healthy are not so any more")

    @pytest.mark.parametrize("earlier", [True, None])
    def test_that_are_bad_for_this_one_alone_are_the_datas(self, earlier: bool | None) -> None:
        assert self.said(Examined(), earlier).blame is Blame.DATA


@pytest.mark.parametrize("pinned", [True, False])
def test_every_suspicion_is_urgent_from_here_on(pinned: bool) -> None:
    setting = Examined()
    assert setting.budget.wary == 0
    convict_stretch(setting.examining, setting.on_trial(), setting.stretch(pinned=pinned), SEVERE)
    assert setting.budget.wary > 0


def test_where_no_step_can_be_run_again_that_is_said_and_not_that_there_were_no_healthy_batches() -> None:
    setting = Examined(replayed=False)
    attempt = setting.parts.measured(setting.batches[0], place=setting.place())
    attempt.undone = True
    said = convict_update(setting.examining, attempt, None, setting.examining.usable())
    assert (said.blame, said.why) == (Blame.UNKNOWN, setting.parts.executor.no_replay)
