"""Gradients that are bad for batches that were healthy, too."""

from __future__ import annotations

import math

import pytest
import torch
from support.exact import assert_same
from support.examined import Examined

from supervisor.evidence import Blame
from supervisor.experiments.gradients import are_bad_for_all, blame_of_gradients
from supervisor.records import Cause, CauseKind, Signal, SignalName
from supervisor.update import Attempt

GRADIENT, LOSS = SignalName.NONFINITE_GRADIENT, SignalName.NONFINITE_LOSS


def attempt_in(setting: Examined, *names: SignalName) -> Attempt:
    attempt = setting.parts.measured(setting.batches[0], place=setting.place())
    setting.parts.executor.undo(attempt)
    attempt.signals = tuple(Signal(name, {}) for name in names)
    return attempt


def asked(setting: Examined, *names: SignalName, earlier: bool | None = None) -> bool:
    cause = Cause(CauseKind.BACKWARD_ONLY, "", 1, 1, earlier_batch_healthy=earlier)
    return are_bad_for_all(setting.examining, attempt_in(setting, *names), cause, setting.examining.usable())


def no_gradient(setting: Examined) -> None:
    """From now on the loss is as it was, and its gradient is not finite."""
    bias = setting.model.bias
    setting.fault = lambda: 1.0 + (bias - bias.detach()).abs().sqrt().sum()  # type: ignore[assignment, return-value]


def test_an_earlier_batch_is_run_backward_where_the_diagnosis_has_not() -> None:
    setting = Examined()
    assert not asked(setting, GRADIENT)
    no_gradient(setting)
    assert asked(setting, GRADIENT)
    assert [(each.kind, each.batches, each.verdict) for each in setting.heard.named("experiment")] == [
        ("canaries", 1, "unharmed"),
        ("canaries", 1, "harmed"),
    ]


def test_it_leaves_no_trace() -> None:
    setting = Examined()
    attempt, before = attempt_in(setting, GRADIENT), setting.pin().to_tree()
    are_bad_for_all(setting.examining, attempt, None, setting.examining.usable())
    assert_same(setting.pin().to_tree(), before)
    assert all(parameter.grad is None for parameter in setting.model.parameters())


@pytest.mark.parametrize("earlier", [True, False])
def test_where_the_diagnosis_has_its_word_counts(earlier: bool) -> None:
    setting = Examined()
    assert asked(setting, GRADIENT, earlier=earlier) is not earlier
    assert setting.heard.named("experiment") == []


@pytest.mark.parametrize("names", [(), (LOSS,), (LOSS, GRADIENT)])
def test_where_the_loss_is_bad_too_its_canaries_have_spoken(names: tuple[SignalName, ...]) -> None:
    setting = Examined()
    assert not asked(setting, *names, earlier=False)


class TestBlame:
    def blamed(self, setting: Examined) -> Blame:
        return blame_of_gradients(setting.examining, attempt_in(setting, GRADIENT), finite=False).blame

    def test_of_two_updates_in_a_row_it_is_the_states(self) -> None:
        setting = Examined()
        assert [self.blamed(setting) for _ in range(3)] == [Blame.UNKNOWN, Blame.STATE, Blame.STATE]

    def test_of_one_that_passes_it_is_not_known(self) -> None:
        setting = Examined()
        assert self.blamed(setting) is Blame.UNKNOWN
        setting.healthy()
        assert self.blamed(setting) is Blame.UNKNOWN

    def test_unless_the_run_has_just_gone_back_to_a_good_one(self) -> None:
        setting = Examined()
        setting.examining.just_went_back = True
        evidence = blame_of_gradients(setting.examining, attempt_in(setting, GRADIENT), finite=False)
        assert evidence.blame is Blame.CODE

    @pytest.mark.parametrize("then", ["accept", "halt"])
    def test_where_they_are_finite_they_are_larger_from_now_on(self, then: str) -> None:
        setting = Examined(experiments={"shift": {"then": then}})
        setting.examining.just_went_back = True
        evidence = blame_of_gradients(setting.examining, attempt_in(setting, GRADIENT), finite=True)
        assert (evidence.blame, evidence.shifted) == (Blame.DATA, then == "halt")
        (event,) = setting.heard.named("data_shift")
        assert event.accepted is (then == "accept")
        assert setting.examining.usable() == ()
        assert setting.detectors.levels is None


def test_an_overflow_under_a_gradient_scaler_says_nothing_of_the_state() -> None:
    setting = Examined()
    setting.parts.subject.scaler = torch.amp.GradScaler("cpu", init_scale=2.0)
    assert math.isfinite(setting.parts.subject.loss_scale or math.nan)
    assert not asked(setting, GRADIENT, earlier=False)


def test_a_batch_that_raises_says_nothing_of_the_state() -> None:
    setting = Examined()
    setting.fault = lambda: 1 / 0
    attempt = Attempt(setting.place(), (setting.batches[0],), setting.parts.subject.capture_volatile(), 0.0)
    attempt.signals = (Signal(GRADIENT, {}),)
    assert not are_bad_for_all(setting.examining, attempt, None, setting.examining.usable())
