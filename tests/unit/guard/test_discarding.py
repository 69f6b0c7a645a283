"""A flagged update is undone, looked into and answered: in this order, and only as far as it can be."""

from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from support.exact import assert_same
from support.parts import NAN_LOSS, attempt_of, policy_of
from support.recorder import Calls, Recorder

from supervisor.actions import Effect
from supervisor.diagnosis import Diagnosis
from supervisor.evidence import Blame, Evidence
from supervisor.experiments import Experimenter
from supervisor.guard.continuation import Continuation
from supervisor.guard.diagnosing import Diagnostician
from supervisor.guard.discarding import Discarding, Undoing
from supervisor.guard.micro_batches import MicroBatchJudge
from supervisor.guard.outcome import StepOutcome, Verdict
from supervisor.guard.recovery import Recovered, Recovery
from supervisor.records import ActionName, Cause, CauseKind, Decision, Signal, SignalName
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

    def __init__(
        self,
        action: ActionName = ActionName.SKIP_BATCH,
        judge: Any = None,
        diagnosis: Diagnosis = DIAGNOSIS,
        evidence: Evidence | None = None,
        quarantines: bool = False,
        **found: Any,
    ) -> None:
        self.calls = calls = Calls()
        self.policy = policy_of(detect={"state_every_steps": 5})
        self.recovered = Recovered(Decision(1, 0, action, 1, "because"), Effect())
        self.detectors = Detectors(self.policy)
        parts: Any = {
            "executor": Recorder(Executor, "executor", calls, check_state=lambda attempt: self.find(attempt, found)),
            "states": Recorder(GoodStates, "states", calls),
            "judge": Recorder(MicroBatchJudge, "judge", calls, judge=judge),
        }
        self.diagnostician: Any = Recorder(Diagnostician, "diagnostician", calls, diagnose=diagnosis)
        recovery: Any = Recorder(
            Recovery, "recovery", calls, answer=self.recovered, quarantine=SimpleNamespace(takes=quarantines)
        )
        verbs = dict.fromkeys(("excuse", "go_on", "halt"), OUTCOME)
        continuation: Any = Recorder(Continuation, "continuation", calls, halt_reason="because", **verbs)
        undoing = Undoing(detectors=self.detectors, **parts)
        experimenter: Any = Recorder(Experimenter, "experimenter", calls, convict=evidence)
        self.discarding = Discarding(self.policy, undoing, self.diagnostician, experimenter, recovery, continuation)

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
        "experimenter.convict",
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


class TestEvidence:
    DATA = Evidence(Blame.DATA, "the canaries are sound")
    ROWS = Diagnosis(Cause(CauseKind.BAD_INPUT, "sample 1", 8, 9, samples=(1,), dataset_indices=(41,)), None)
    BATCH = (torch.arange(6.0).reshape(3, 2), torch.arange(3))

    def drawn(self, **changes: Any) -> Attempt:
        attempt = attempt_of(8, 9, self.BATCH, loss=math.nan)
        attempt.drawn = changes.get("drawn", True)
        return attempt

    def test_what_the_experiments_found_is_kept_with_the_update(self) -> None:
        setting, attempt = Setting(evidence=self.DATA), bad()
        setting.discarding.discard(attempt)
        assert attempt.evidence == self.DATA
        assert setting.calls.given["experimenter.convict"] == [(attempt, None)]

    def test_where_the_bad_rows_are_known_and_left_out_the_rest_comes_again_and_counts_for_none(self) -> None:
        setting, attempt = Setting(diagnosis=self.ROWS, evidence=self.DATA, quarantines=True), self.drawn()
        setting.discarding.discard(attempt)
        assert_same(attempt.mended, ((self.BATCH[0][[0, 2]], self.BATCH[1][[0, 2]]),))
        assert attempt.evidence == replace(self.DATA, batches=0)

    @pytest.mark.parametrize(
        ("options", "drawn"),
        [
            ({"evidence": DATA, "diagnosis": ROWS}, True),
            ({"evidence": DATA, "quarantines": True}, True),
            ({"evidence": replace(DATA, blame=Blame.STATE), "diagnosis": ROWS, "quarantines": True}, True),
            ({"evidence": None, "diagnosis": ROWS, "quarantines": True}, True),
            ({"evidence": DATA, "diagnosis": ROWS, "quarantines": True}, False),
        ],
        ids=["no quarantine", "no rows", "the state", "no evidence", "the caller's"],
    )
    def test_otherwise_none_of_it_comes_again(self, options: Any, drawn: bool) -> None:
        setting, attempt = Setting(**options), self.drawn(drawn=drawn)
        setting.discarding.discard(attempt)
        assert attempt.mended == ()
        assert attempt.evidence == options["evidence"]

    def test_the_findings_of_an_experiment_stay_where_every_number_is_finite(self) -> None:
        setting, attempt = Setting(), bad(loss=1.0)
        attempt.signals, attempt.evidence = (Signal(SignalName.LOSS_SPIKE),), self.DATA
        setting.discarding.discard(attempt)
        assert setting.calls.given["recovery.answer"][0][1] == (Signal(SignalName.LOSS_SPIKE),)
        assert "judge.judge" not in setting.calls

    def test_but_a_damaged_state_is_named_first(self) -> None:
        setting, attempt = Setting(bad_parameters=("outer.bias",)), bad(loss=1.0)
        attempt.signals, attempt.evidence = (Signal(SignalName.LOSS_SPIKE),), self.DATA
        setting.discarding.discard(attempt)
        assert [signal.name for signal in setting.calls.given["recovery.answer"][0][1]] == ["nonfinite_parameter"]
