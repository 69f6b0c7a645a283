"""A flagged update is undone, looked into and answered: in this order, and only as far as it can be."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from support.parts import NAN_LOSS, attempt_of, policy_of
from support.recorder import Calls, Recorder

from supervisor.actions import Effect
from supervisor.diagnosis import Diagnosis
from supervisor.guard.continuation import Continuation
from supervisor.guard.diagnosing import Diagnostician
from supervisor.guard.discarding import Discarding, Undoing
from supervisor.guard.micro_batches import MicroBatchJudge
from supervisor.guard.outcome import StepOutcome, Verdict
from supervisor.guard.recovery import Recovered, Recovery
from supervisor.records import ActionName, Decision, Signal, SignalName
from supervisor.signals import Detectors
from supervisor.states import GoodStates
from supervisor.update import Attempt, Executor

OUTCOME = StepOutcome(8, math.nan, math.nan, False)
DIAGNOSIS = Diagnosis(None, "nobody knows")
OVERFLOW: dict[str, Any] = {
    "loss": 1.0,
    "grad_norm": math.inf,
    "gradient_elements_finite": False,
    "loss_scale": 65536.0,
}


class Setting:
    """The discarding, with the real detectors and an executor that finds in the state what it is told."""

    def __init__(self, action: ActionName = ActionName.SKIP_BATCH, judge: Any = None, **found: Any) -> None:
        self.calls = calls = Calls()
        self.policy = policy_of(detect={"state_every_steps": 5})
        self.recovered = Recovered(Decision(1, 0, action, 1, "because"), Effect())
        self.detectors = Detectors(self.policy)
        parts: Any = {
            "executor": Recorder(Executor, "executor", calls, check_state=lambda attempt: self.find(attempt, found)),
            "states": Recorder(GoodStates, "states", calls),
            "judge": Recorder(MicroBatchJudge, "judge", calls, judge=judge),
        }
        self.diagnostician: Any = Recorder(Diagnostician, "diagnostician", calls, diagnose=DIAGNOSIS)
        recovery: Any = Recorder(Recovery, "recovery", calls, answer=self.recovered)
        verbs = dict.fromkeys(("excuse", "go_on", "halt"), OUTCOME)
        continuation: Any = Recorder(Continuation, "continuation", calls, **verbs)
        undoing = Undoing(detectors=self.detectors, **parts)
        self.discarding = Discarding(self.policy, undoing, self.diagnostician, recovery, continuation)

    @staticmethod
    def find(attempt: Attempt, found: Any) -> None:
        attempt.observation = replace(attempt.seen, **found)


def bad(*, undone: bool = True, **seen: Any) -> Attempt:
    attempt = attempt_of(8, 9, **{"loss": math.nan, **seen})
    attempt.undone = undone
    return attempt


@pytest.mark.parametrize(
    "action",
    [ActionName.SKIP_BATCH, ActionName.LOWER_LR, ActionName.RELOAD_CHECKPOINT, ActionName.REINITIALIZE],
)
def test_it_is_undone_looked_into_flagged_and_answered_in_this_order(action: ActionName) -> None:
    setting, attempt = Setting(action), bad()
    assert setting.discarding.discard(attempt) == Verdict(apply=False, outcome=OUTCOME)
    assert setting.calls == [
        "executor.undo",
        "states.flush",
        "executor.check_state",
        "judge.judge",
        "continuation.noted",
        "diagnostician.diagnose",
        "continuation.flag",
        "recovery.answer",
        "continuation.go_on",
    ]
    assert attempt.undone
    answered, signals, diagnosis, diagnostician = setting.calls.given["recovery.answer"][0]
    assert answered is attempt
    assert [signal.name for signal in signals] == ["nonfinite_loss"]
    assert (diagnosis, diagnostician) == (DIAGNOSIS, setting.diagnostician)
    assert setting.calls.given["continuation.go_on"] == [(attempt, setting.recovered)]


def test_a_halt_ends_the_run_and_says_why() -> None:
    setting = Setting(ActionName.HALT)
    assert setting.discarding.discard(bad()) == Verdict(apply=False, outcome=OUTCOME, halt=True, reason="because")
    assert setting.calls[-2:] == ["recovery.answer", "continuation.halt"]
    assert "continuation.go_on" not in setting.calls


def test_one_whose_optimizer_has_begun_to_step_reached_the_weights() -> None:
    """What is wrong with them was found already; looking again would find what the update itself did."""
    setting, attempt = Setting(), bad(undone=False, bad_parameters=("outer.bias",))
    setting.discarding.discard(attempt)
    assert not attempt.undone
    assert setting.calls[:4] == ["executor.undo", "states.flush", "continuation.noted", "diagnostician.diagnose"]
    assert [signal.name for signal in attempt.signals] == ["nonfinite_parameter", "nonfinite_loss"]


def test_damage_from_before_the_update_is_found_once_it_is_undone() -> None:
    setting, attempt = Setting(bad_optimizer_state=("outer.bias.exp_avg",)), bad()
    setting.discarding.discard(attempt)
    assert [signal.name for signal in attempt.signals] == ["nonfinite_optimizer_state", "nonfinite_loss"]
    assert setting.calls.given["recovery.answer"][0][1] == attempt.signals


def test_findings_that_are_only_observed_are_no_causes() -> None:
    setting, attempt = Setting(), bad(sanitized=3)
    setting.discarding.discard(attempt)
    assert [signal.name for signal in attempt.signals] == ["nonfinite_loss", "sanitized_values"]
    assert [signal.name for signal in setting.calls.given["recovery.answer"][0][1]] == ["nonfinite_loss"]


class TestOverflow:
    def test_one_that_is_calibration_is_excused_and_nobody_looks_into_it(self) -> None:
        setting, attempt = Setting(), bad(**OVERFLOW)
        assert setting.discarding.discard(attempt) == Verdict(apply=False, outcome=OUTCOME)
        assert setting.calls == [
            "executor.undo",
            "states.flush",
            "executor.check_state",
            "continuation.noted",
            "continuation.excuse",
        ]

    @pytest.mark.parametrize(
        "otherwise", [{"loss": math.nan}, {"loss_scale": 1.0}, {"loss_scale": None}, {"exception": "RuntimeError"}]
    )
    def test_any_other_is_a_fault(self, otherwise: Any) -> None:
        setting = Setting()
        setting.discarding.discard(bad(**{**OVERFLOW, **otherwise}))
        assert setting.calls[-1] == "continuation.go_on"

    def test_so_is_one_on_a_damaged_state(self) -> None:
        setting = Setting(bad_parameters=("outer.bias",))
        setting.discarding.discard(bad(**OVERFLOW))
        assert setting.calls[-1] == "continuation.go_on"

    def test_so_is_one_that_reached_the_weights(self) -> None:
        setting = Setting()
        setting.discarding.discard(bad(undone=False, **OVERFLOW))
        assert setting.calls[-1] == "continuation.go_on"


def test_what_the_judge_finds_is_what_is_answered() -> None:
    def judge(attempt: Attempt) -> None:
        attempt.signals = (Signal(SignalName.NONFINITE_LOSS, {"batches": ("1",)}),)

    setting, attempt = Setting(judge=judge), bad()
    setting.discarding.discard(attempt)
    assert setting.calls.given["recovery.answer"][0][1] == attempt.signals != NAN_LOSS
