"""What the engine makes of evidence: bad data spend nothing, a damaged state goes back, the program halts in place."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from supervisor.engine import BadBatches, EngineState, advance, decide
from supervisor.engine.evidence import answer_by_evidence, entry_by_evidence, rung_of, without_redrawing
from supervisor.engine.state import OpenIncident
from supervisor.evidence import Blame, Evidence
from supervisor.policy import RecoveryPolicy, load_policy
from supervisor.records import ActionName, CauseKind, Decision, Signal, SignalName

NAN = (Signal(SignalName.NONFINITE_LOSS),)
DATA = Evidence(Blame.DATA, "the canaries are sound")
MACHINE = Evidence(Blame.MACHINE, "healthy when run again", repeatable=True, batch=7)
LADDER = [
    {"action": "skip_batch", "attempts": 2},
    {"action": "lower_lr", "attempts": 1},
    {"action": "reload_checkpoint", "attempts": 1},
    {"action": "reinitialize", "attempts": 1},
]
INCIDENT = OpenIncident(1, 0, (0, 0, 0, 0, 0))


def policy_with(*ladder: dict[str, Any], bad_data: dict[str, Any] | None = None, **changes: Any) -> RecoveryPolicy:
    experiments = {} if bad_data is None else {"bad_data": bad_data, "shift": {"after_updates": 1}}
    return load_policy({"ladder": [*(ladder or LADDER)], "experiments": experiments, **changes})


POLICY = policy_with()


def decided(
    evidence: Evidence | None,
    policy: RecoveryPolicy = POLICY,
    state: EngineState | None = None,
    signals: tuple[Signal, ...] = NAN,
    **options: Any,
) -> tuple[EngineState, Decision]:
    return decide((state or EngineState()).tick(), signals, policy, evidence=evidence, **options)


def again(times: int, evidence: Evidence, policy: RecoveryPolicy = POLICY) -> tuple[EngineState, list[Decision]]:
    state, decisions = EngineState(), []
    for _ in range(times):
        state, decision = decided(evidence, policy, state)
        decisions.append(decision)
    return state, decisions


class TestBadData:
    def test_many_bad_batches_are_skipped_without_climbing(self) -> None:
        state, decisions = again(30, DATA)
        assert {decision.action for decision in decisions} == {ActionName.SKIP_BATCH}
        assert [decision.attempt for decision in decisions] == [*range(1, 31)]
        assert state.incident is not None
        assert (state.incident.attempts, state.incident.excused) == ((0, 0, 0, 0, 0), 30)
        assert state.uses == ()
        assert (state.bad.in_a_row, state.bad.total) == (30, 30)

    def test_one_more_than_may_come_in_a_row_halts_in_place_and_says_so(self) -> None:
        policy = policy_with(bad_data={"in_a_row": 3, "share": 1.0, "window_updates": 100})
        _, decisions = again(4, DATA, policy)
        assert [decision.action for decision in decisions] == [*["skip_batch"] * 3, "halt"]
        last = decisions[-1]
        assert last.in_place
        assert "4 bad batches in a row since the update 3 before this one" in last.reason
        assert "bad_data.in_a_row allows 3" in last.reason
        assert "passed over: lower_lr, reload_checkpoint, reinitialize" in last.reason

    def test_more_than_the_share_of_the_window_halts_in_place(self) -> None:
        policy = policy_with(bad_data={"in_a_row": 50, "share": 0.2, "window_updates": 10})
        state = replace(EngineState(clock=20), bad=BadBatches(recent=((15, 1), (18, 1)), total=2))
        _, decision = decided(DATA, policy, state)
        assert (decision.action, decision.in_place) == ("halt", True)
        assert "3 bad batches within the last 10 updates, the first 6 updates ago" in decision.reason

    def test_what_the_window_has_left_behind_does_not_count(self) -> None:
        policy = policy_with(bad_data={"in_a_row": 50, "share": 0.2, "window_updates": 10})
        state = replace(EngineState(clock=20), bad=BadBatches(recent=((10, 1), (11, 1)), total=2))
        after, decision = decided(DATA, policy, state)
        assert decision.action is ActionName.SKIP_BATCH
        assert after.bad.recent == ((21, 1),)

    def test_as_many_batches_count_as_were_bad(self) -> None:
        state, _ = decided(replace(DATA, batches=3))
        assert (state.bad.in_a_row, state.bad.total, state.bad.recent) == (3, 3, ((1, 3),))

    def test_one_whose_bad_rows_are_known_counts_for_the_total_alone(self) -> None:
        state, _ = decided(replace(DATA, batches=0))
        assert (state.bad.in_a_row, state.bad.total, state.bad.recent) == (0, 1, ())

    def test_a_change_of_the_data_that_the_policy_does_not_accept_halts_in_place(self) -> None:
        _, decision = decided(replace(DATA, shifted=True))
        assert (decision.action, decision.in_place) == ("halt", True)

    def test_a_higher_rung_that_the_user_wrote_for_the_finding_is_taken(self) -> None:
        policy = policy_with(reactions={"nonfinite_loss": "lower_lr"})
        _, decision = decided(DATA, policy)
        assert decision.action is ActionName.LOWER_LR

    def test_and_so_is_one_for_its_cause(self) -> None:
        policy = policy_with(reactions={"bad_input": "halt"})
        _, decision = decided(DATA, policy, cause=CauseKind.BAD_INPUT)
        assert decision.action is ActionName.HALT

    def test_a_default_reaction_is_not_the_users_word(self) -> None:
        _, decision = decided(DATA, signals=(Signal(SignalName.DIVERGENCE),))
        assert decision.action is ActionName.SKIP_BATCH

    def test_without_a_rung_that_skips_the_ladder_is_climbed(self) -> None:
        policy = policy_with({"action": "lower_lr", "attempts": 1})
        state, decisions = again(2, DATA, policy)
        assert [decision.action for decision in decisions] == ["lower_lr", "halt"]
        assert decisions[-1].in_place
        assert state.bad == BadBatches()

    def test_an_open_incident_stays_on_its_rung(self) -> None:
        """The rung that was reached before is not the cure of bad data, and neither is it lost."""
        state, _ = decided(None, policy_with(reactions={"nonfinite_loss": "reload_checkpoint"}))
        after, decision = decided(DATA, POLICY, state)
        assert decision.action is ActionName.SKIP_BATCH
        assert state.incident is not None
        assert after.incident is not None
        assert (after.incident.rung, after.incident.attempts) == (2, state.incident.attempts)
        assert after.incident.healthy_steps == state.incident.healthy_steps


class TestMachine:
    def test_the_batch_comes_again_and_nothing_is_spent(self) -> None:
        state, decision = decided(MACHINE)
        assert (decision.action, decision.retry) == ("skip_batch", True)
        assert state.incident is not None
        assert state.incident.attempts == (0, 0, 0, 0, 0)
        assert state.bad == BadBatches(retried=7)

    def test_not_a_second_time_for_the_same_batch(self) -> None:
        state, _ = decided(MACHINE)
        state, decision = decided(MACHINE, state=state)
        assert not decision.retry
        assert state.incident is not None
        assert state.incident.attempts[0] == 1

    def test_but_for_another_one(self) -> None:
        state, _ = decided(MACHINE)
        _, decision = decided(replace(MACHINE, batch=8), state=state)
        assert decision.retry

    def test_where_it_cannot_come_again_it_is_left_out(self) -> None:
        _, decision = decided(replace(MACHINE, repeatable=False, batch=None))
        assert (decision.action, decision.retry) == ("skip_batch", False)
        assert "left out" in decision.reason

    def test_a_higher_rung_that_the_user_wrote_is_taken(self) -> None:
        policy = policy_with(reactions={"not_reproducible": "reload_checkpoint"})
        _, decision = decided(MACHINE, policy, cause=CauseKind.NOT_REPRODUCIBLE)
        assert decision.action is ActionName.RELOAD_CHECKPOINT


class TestState:
    EVIDENCE = Evidence(Blame.STATE, "the canaries are harmed")

    def test_it_goes_back_at_once(self) -> None:
        state, decision = decided(self.EVIDENCE)
        assert decision.action is ActionName.RELOAD_CHECKPOINT
        assert "by what the experiment found" in decision.reason
        assert self.EVIDENCE.why in decision.reason
        assert state.incident is not None
        assert state.incident.attempts == (0, 0, 1, 0, 0)

    def test_and_higher_from_there(self) -> None:
        state, _ = decided(self.EVIDENCE)
        _, decision = decided(self.EVIDENCE, state=state)
        assert decision.action is ActionName.REINITIALIZE

    def test_without_a_rung_that_goes_back_it_enters_at_the_lowest(self) -> None:
        assert entry_by_evidence(self.EVIDENCE, policy_with({"action": "skip_batch"})) == 0

    @pytest.mark.parametrize("blame", [blame for blame in Blame if blame is not Blame.STATE])
    def test_no_other_blame_enters_higher(self, blame: Blame) -> None:
        assert entry_by_evidence(Evidence(blame, "why"), POLICY) == 0
        assert entry_by_evidence(None, POLICY) == 0


class TestCode:
    EVIDENCE = Evidence(Blame.CODE, "known batches raise as well")

    def test_it_halts_in_place(self) -> None:
        state, decision = decided(self.EVIDENCE, signals=(Signal(SignalName.STEP_EXCEPTION),))
        assert (decision.action, decision.rung, decision.in_place) == ("halt", 4, True)
        assert self.EVIDENCE.why in decision.reason
        assert state.bad == BadBatches()


class TestUnknown:
    FINITE = Evidence(Blame.UNKNOWN, "no canary yet", finite=True)
    SPIKE = (Signal(SignalName.LOSS_SPIKE),)

    def test_it_climbs_as_the_ladder_is_written(self) -> None:
        _, with_evidence = again(4, replace(self.FINITE, finite=False))
        state, counted = EngineState(), []
        for _ in range(4):
            state, decision = decided(None, state=state)
            counted.append(decision)
        assert [decision.action for decision in with_evidence] == [decision.action for decision in counted]

    def test_finite_numbers_alone_neither_redraw_nor_halt(self) -> None:
        state, actions = EngineState(), []
        for _ in range(8):
            state, decision = decided(self.FINITE, state=state, signals=self.SPIKE)
            actions.append(decision.action)
        assert actions == ["skip_batch", "skip_batch", "lower_lr", "reload_checkpoint", *["skip_batch"] * 4]

    def test_what_is_skipped_instead_spends_nothing(self) -> None:
        before = EngineState(clock=9, incidents=1)
        planned = Decision(1, 4, ActionName.HALT, 1, "the end")
        result = without_redrawing(before, INCIDENT, planned, self.FINITE, POLICY)
        assert result is not None
        state, decision = result
        assert (decision.action, decision.rung) == ("skip_batch", 0)
        assert "no reason to halt" in decision.reason
        assert state.incident == replace(INCIDENT, excused=1)

    @pytest.mark.parametrize(
        "evidence",
        [None, replace(FINITE, finite=False), replace(FINITE, blame=Blame.STATE)],
        ids=["none", "not finite", "harmed"],
    )
    def test_otherwise_the_decision_stands(self, evidence: Evidence | None) -> None:
        planned = Decision(1, 4, ActionName.HALT, 1, "the end")
        assert without_redrawing(EngineState(), INCIDENT, planned, evidence, POLICY) is None

    def test_and_so_do_lower_rungs(self) -> None:
        planned = Decision(1, 2, ActionName.RELOAD_CHECKPOINT, 1, "back")
        assert without_redrawing(EngineState(), INCIDENT, planned, self.FINITE, POLICY) is None


class TestSetup:
    """A rate that did harm on trial is held by the guard, and the batch is not at fault."""

    @pytest.mark.parametrize("repeatable", [True, False])
    def test_the_batch_comes_again_and_nothing_is_spent(self, repeatable: bool) -> None:
        evidence = Evidence(Blame.SETUP, "the rate", repeatable=repeatable)
        answered = answer_by_evidence(EngineState(), INCIDENT, evidence, (SignalName.DIVERGENCE,), POLICY)
        assert answered is not None
        state, decision = answered
        assert (decision.action, decision.retry) == (ActionName.SKIP_BATCH, repeatable)
        assert ("its batch comes again" in decision.reason) is repeatable
        assert state.incident is not None
        assert (state.incident.attempts, state.bad) == (INCIDENT.attempts, EngineState().bad)


@pytest.mark.parametrize("blame", [Blame.STATE, Blame.UNKNOWN])
def test_other_blames_are_answered_by_the_ladder(blame: Blame) -> None:
    evidence = Evidence(blame, "why")
    assert answer_by_evidence(EngineState(), INCIDENT, evidence, (SignalName.NONFINITE_LOSS,), POLICY) is None


def test_a_healthy_step_ends_the_row_of_bad_batches_and_not_their_count() -> None:
    state, _ = again(3, DATA)
    state, _ = advance(state, POLICY)
    assert (state.bad.in_a_row, state.bad.total, len(state.bad.recent)) == (0, 3, 3)


def test_the_rung_of_an_action_is_the_first_one() -> None:
    policy = policy_with({"action": "skip_batch"}, {"action": "lower_lr"}, {"action": "skip_batch"})
    assert (rung_of(policy, ActionName.SKIP_BATCH), rung_of(policy, ActionName.HALT)) == (0, 3)
    assert rung_of(policy, ActionName.REINITIALIZE) is None
