"""The end of an update: who hears of it, in which order, for each way it can end."""

from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from support.parts import NAN_LOSS, attempt_of
from support.recorder import Calls, Recorder

from supervisor.actions import Effect, Restored
from supervisor.engine import Closed
from supervisor.evidence import Blame, Evidence
from supervisor.experiments import Experimenter, RecentCanaries
from supervisor.guard.continuation import Continuation
from supervisor.guard.outcome import StepOutcome
from supervisor.guard.recovery import Recovered
from supervisor.record.incident_log import IncidentLog
from supervisor.record.run_ledger import RunLedger
from supervisor.record.run_log import RunLog
from supervisor.records import ActionName, Decision, Incident
from supervisor.signals import Detectors
from supervisor.states import GoodStates, RestorePoints, StateTaker
from supervisor.states.restore_points import SpareCopies
from supervisor.training.data_position import DataPosition
from supervisor.training.schedule import Schedule
from supervisor.training.state import Subject
from supervisor.update import Attempt

INCIDENT = Incident(1, 8, 9)
OPTIMIZER = object()


class Setting:
    """A continuation whose every neighbour writes down what it is asked."""

    def __init__(self, closed: Closed | None = None, *, by_epoch: bool = True, observations: bool = True) -> None:
        self.calls = calls = Calls()
        ended = None if closed is None else (closed, INCIDENT if closed.incident else None)
        ledger: Any = Recorder(
            RunLedger, "ledger", calls, applied=ended, spent_since=0.5, lr_scale=0.25, incident=INCIDENT
        )
        subject: Any = Recorder(Subject, "subject", calls, optimizer=OPTIMIZER)
        self.data: Any = Recorder(DataPosition, "data", calls, epoch=3)
        experimenter = Recorder(
            Experimenter,
            "experimenter",
            calls,
            examining=SimpleNamespace(
                detectors=Recorder(Detectors, "detectors", calls), canaries=Recorder(RecentCanaries, "canaries", calls)
            ),
        )
        parts: Any = {
            "experimenter": experimenter,
            "schedule": Recorder(Schedule, "schedule", calls, by_epoch=by_epoch),
            "states": Recorder(GoodStates, "states", calls),
            "taker": Recorder(StateTaker, "taker", calls, check_due=lambda step: step == 9, seconds=0.0),
            "incident_log": Recorder(IncidentLog, "incident_log", calls),
            "run_log": Recorder(RunLog, "run_log", calls, observations=object() if observations else None),
        }
        self.continuation = Continuation(RestorePoints(subject, self.data, ledger, SpareCopies()), **parts)

    def given(self, what: str) -> tuple[Any, ...]:
        (given,) = self.calls.given[what]
        return given


def recovered(action: ActionName, effect: Effect | None = None, *, retry: bool = False) -> Recovered:
    return Recovered(Decision(1, 0, action, 1, "because", retry), effect or Effect())


def flagged(*batches: Any, drawn: bool = True, reusable: tuple[int, ...] = ()) -> Attempt:
    attempt = attempt_of(8, 9, *batches, loss=math.nan)
    attempt.signals, attempt.drawn, attempt.reusable = NAN_LOSS, drawn, reusable
    return attempt


BACK = Effect(Restored(5, "memory"))
SKIP, LOWER, RELOAD = ActionName.SKIP_BATCH, ActionName.LOWER_LR, ActionName.RELOAD_CHECKPOINT
REINITIALIZE, HALT = ActionName.REINITIALIZE, ActionName.HALT


def test_the_state_is_looked_at_by_the_step_that_the_update_leads_to() -> None:
    continuation = Setting().continuation
    assert [continuation.check_due(attempt_of(step)) for step in (7, 8, 9)] == [False, True, False]


class TestAccepting:
    def test_everybody_follows_in_order(self) -> None:
        setting, attempt = Setting(), attempt_of(8, 9, loss=2.0, grad_norm=3.0)
        outcome = setting.continuation.accept(attempt)
        assert outcome == StepOutcome(8, 2.0, 3.0, True)
        assert setting.calls == [
            "run_log.observed",
            "experimenter.accepted",
            "ledger.applied",
            "schedule.follow",
            "ledger.spent_since",
            "states.healthy_step",
            "taker.take_due",
            "run_log.step",
        ]
        assert setting.given("experimenter.accepted") == (attempt,)
        assert setting.given("states.healthy_step") == (8, 9)
        assert setting.given("taker.take_due") == (True,)
        assert setting.given("schedule.follow") == (setting.data, True)
        assert setting.given("run_log.step") == (attempt.seen, OPTIMIZER, 0.5)

    def test_findings_that_are_only_observed_are_on_record_and_told(self) -> None:
        setting, attempt = Setting(), attempt_of(8, 9)
        attempt.signals = NAN_LOSS
        assert setting.continuation.accept(attempt).signals == NAN_LOSS
        assert setting.given("incident_log.signals") == (NAN_LOSS, attempt.seen)

    @pytest.mark.parametrize(
        ("closed", "incident"), [(Closed(1, SKIP), INCIDENT), (Closed(cuts_taken_back=1), None), (Closed(), None)]
    )
    def test_what_ended_with_it_is_on_record(self, closed: Closed, incident: Incident | None) -> None:
        setting, attempt = Setting(closed), attempt_of(8, 9)
        setting.continuation.accept(attempt)
        assert setting.calls[4:6] == ["ledger.spent_since", "incident_log.closed"]
        assert setting.given("incident_log.closed") == (closed, incident, attempt.seen, 0.25)

    def test_a_schedule_by_steps_asks_for_no_epochs_and_a_run_without_observations_writes_none(self) -> None:
        setting = Setting(by_epoch=False, observations=False)
        setting.continuation.accept(attempt_of(8, 9))
        assert not {"schedule.follow", "run_log.observed"} & set(setting.calls)

    def test_a_replayed_update_proves_no_state(self) -> None:
        setting = Setting()
        setting.continuation.accept(attempt_of(8, 9, replayed=True))
        assert "states.healthy_step" not in setting.calls
        assert "taker.take_due" in setting.calls


def test_an_excused_overflow_uses_up_its_step_and_nothing_is_flagged() -> None:
    setting, attempt = Setting(), flagged()
    outcome = setting.continuation.excuse(attempt)
    assert (outcome.applied, outcome.action, outcome.signals) == (False, None, NAN_LOSS)
    assert setting.calls == ["detectors.calibrated", "ledger.used_up", "schedule.follow", "taker.take_due"]
    assert setting.given("taker.take_due") == (False,)


def test_a_flagged_update_counts_for_nothing() -> None:
    setting, attempt = Setting(), flagged()
    setting.continuation.flag(attempt)
    assert setting.calls == ["detectors.flagged", "states.answering", "states.flagged_step", "ledger.flagged"]
    assert setting.given("detectors.flagged") == (attempt.seen,)
    assert setting.given("states.answering") == (8, 9)


@pytest.mark.parametrize("blame", Blame)
def test_what_is_on_probation_begins_anew_unless_the_state_was_not_touched(blame: Blame) -> None:
    setting, attempt = Setting(), flagged()
    attempt.evidence = Evidence(blame, "found out")
    setting.continuation.flag(attempt)
    assert ("states.flagged_step" in setting.calls) is (blame not in (Blame.DATA, Blame.MACHINE, Blame.SETUP))
    assert setting.calls[-1] == "ledger.flagged"


def test_states_taken_amid_what_was_undone_with_it_are_let_go_of() -> None:
    """Two updates that were accepted on trial before it: 7 and 8."""
    setting, attempt = Setting(), flagged()
    attempt.gone_back_over, attempt.evidence = 2, Evidence(Blame.DATA, "they did harm")
    setting.continuation.flag(attempt)
    assert setting.calls == [
        "detectors.flagged",
        "states.forget_newer",
        "ledger.disowned",
        "states.answering",
        "ledger.flagged",
    ]
    assert setting.given("states.forget_newer") == (7, 8, 9)
    assert setting.given("ledger.disowned") == (2,)


class TestGoingOn:
    @pytest.mark.parametrize("action", [SKIP, LOWER])
    def test_where_nothing_went_back_the_step_is_used_up(self, action: ActionName) -> None:
        setting, attempt = Setting(), flagged("one")
        outcome = setting.continuation.go_on(attempt, recovered(action))
        assert (outcome.step, outcome.applied, outcome.action, outcome.signals) == (8, False, action, NAN_LOSS)
        assert setting.calls == [
            "ledger.used_up",
            "data.put_back",
            "schedule.follow",
            "taker.take_due",
            "run_log.step",
        ]
        assert setting.given("data.put_back") == ([],)
        assert setting.given("taker.take_due") == (False,)
        assert setting.given("run_log.step") == (attempt.seen, OPTIMIZER, None)

    @pytest.mark.parametrize(("action", "good"), [(RELOAD, True), (REINITIALIZE, False)])
    def test_where_the_run_went_back_that_state_is_committed(self, action: ActionName, good: bool) -> None:
        setting = Setting()
        setting.continuation.go_on(flagged("one"), recovered(action, BACK))
        assert setting.calls == [
            "schedule.begin_at",
            "schedule.follow",
            "detectors.restored",
            "experimenter.restored",
            "taker.commit",
            "run_log.step",
        ]
        assert setting.given("schedule.begin_at") == (3,)
        assert setting.given("taker.commit") == (good,)

    def test_redrawn_modules_make_every_window_begin_anew(self) -> None:
        setting = Setting()
        setting.continuation.go_on(flagged(), recovered(REINITIALIZE, Effect(Restored(5, "disk"), ("gru",))))
        assert setting.calls[2:5] == ["detectors.forget", "canaries.begin_anew", "experimenter.restored"]
        assert "detectors.restored" not in setting.calls

    def test_the_good_ones_among_accumulated_batches_come_again(self) -> None:
        setting = Setting()
        setting.continuation.go_on(flagged("a", "b", "c", reusable=(0, 2)), recovered(SKIP))
        assert setting.given("data.put_back") == (["a", "c"],)

    def test_all_of_them_do_where_the_fault_could_not_be_reproduced(self) -> None:
        setting = Setting()
        setting.continuation.go_on(flagged("a", "b"), recovered(SKIP, retry=True))
        assert setting.given("data.put_back") == (("a", "b"),)

    def test_so_does_what_is_left_of_one_whose_bad_rows_are_known(self) -> None:
        setting, attempt = Setting(), flagged("a")
        attempt.mended = ("a without its second row",)
        setting.continuation.go_on(attempt, recovered(SKIP))
        assert setting.given("data.put_back") == (("a without its second row",),)

    def test_batches_of_the_callers_own_are_his(self) -> None:
        setting = Setting()
        setting.continuation.go_on(flagged("a", "b", drawn=False, reusable=(0,)), recovered(SKIP, retry=True))
        assert "data.put_back" not in setting.calls

    def test_none_comes_again_after_going_back(self) -> None:
        setting = Setting()
        setting.continuation.go_on(flagged("a", "b", reusable=(0,)), recovered(RELOAD, BACK))
        assert "data.put_back" not in setting.calls
        assert "ledger.used_up" not in setting.calls


class TestHalting:
    def test_the_run_ends_in_the_good_state_which_is_committed_as_such(self) -> None:
        setting, attempt = Setting(), flagged()
        outcome = setting.continuation.halt(attempt, recovered(HALT, BACK))
        assert (outcome.applied, outcome.action) == (False, HALT)
        assert setting.calls == [
            "schedule.begin_at",
            "schedule.follow",
            "detectors.restored",
            "experimenter.restored",
            "ledger.halt",
            "incident_log.write",
            "taker.commit",
            "run_log.halted",
        ]
        assert setting.given("ledger.halt") == (8,)
        assert setting.given("incident_log.write") == (INCIDENT,)
        assert setting.given("taker.commit") == (True,)
        assert setting.given("run_log.halted") == ("because", attempt.seen)

    def test_without_one_the_present_state_is_not_called_good(self) -> None:
        setting = Setting()
        setting.continuation.halt(flagged(), recovered(HALT))
        assert setting.calls[0] == "ledger.used_up"
        assert setting.given("taker.commit") == (False,)

    def test_a_sound_present_state_is_committed_as_good(self) -> None:
        """Its canaries are the proof."""
        setting = Setting()
        halted = recovered(HALT)
        in_place = Recovered(replace(halted.decision, in_place=True), halted.effect)
        setting.continuation.halt(flagged(), in_place)
        assert setting.calls[0] == "ledger.used_up"
        assert setting.given("taker.commit") == (True,)
