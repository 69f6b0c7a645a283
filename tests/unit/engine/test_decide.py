"""How the ladder is climbed: one row of the contract a test."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from supervisor.engine import (
    Closed,
    EngineState,
    advance,
    decide,
    dismissed,
    no_further,
    passed_over,
    reject,
    restored,
)
from supervisor.policy import RecoveryPolicy, load_policy
from supervisor.records import ActionName, CauseKind, Decision, Signal, SignalName

LOSS = (Signal(SignalName.NONFINITE_LOSS),)
PARAMETER = (Signal(SignalName.NONFINITE_PARAMETER),)

SKIP, LOWER, RELOAD, CURES, REINITIALIZE, HALT = range(6)


def policy_of(*rungs: dict[str, object], **rest: object) -> RecoveryPolicy:
    return load_policy({"ladder": [*rungs, {"action": "halt"}], "reactions": {}, **rest})


def flag(
    state: EngineState,
    policy: RecoveryPolicy,
    signals: tuple[Signal, ...] = LOSS,
    blocked: dict[int, str] | None = None,
) -> tuple[EngineState, Decision]:
    return decide(state.tick(), signals, policy, blocked=blocked)


def healthy(state: EngineState, policy: RecoveryPolicy, steps: int) -> tuple[EngineState, list[Closed]]:
    closings = []
    for _ in range(steps):
        state, closed = advance(state.tick(), policy)
        closings.append(closed)
    return state, closings


def climb(policy: RecoveryPolicy, times: int, signals: tuple[Signal, ...] = LOSS) -> list[Decision]:
    state, decisions = EngineState(), []
    for _ in range(times):
        state, decision = flag(state, policy, signals)
        decisions.append(decision)
    return decisions


def test_the_default_ladder_is_climbed_attempt_by_attempt() -> None:
    decisions = climb(RecoveryPolicy(), 10)
    assert [(d.rung, d.attempt) for d in decisions] == [
        (SKIP, 1),
        (SKIP, 2),
        (SKIP, 3),
        (LOWER, 1),
        (LOWER, 2),
        (RELOAD, 1),
        (RELOAD, 2),
        (CURES, 1),
        (REINITIALIZE, 1),
        (HALT, 1),
    ]
    assert [d.action for d in decisions] == [RecoveryPolicy().ladder[d.rung].action for d in decisions]
    assert {d.incident for d in decisions} == {1}


@pytest.mark.parametrize(
    ("signal", "rung"),
    [
        (SignalName.STEP_EXCEPTION, SKIP),
        (SignalName.NONFINITE_OPTIMIZER_STATE, RELOAD),
        (SignalName.NONFINITE_PARAMETER, RELOAD),
        (SignalName.NONFINITE_LOSS, SKIP),
        (SignalName.NONFINITE_GRADIENT, SKIP),
        (SignalName.GRADIENT_OVERFLOW, SKIP),
        (SignalName.DIVERGENCE, RELOAD),
        (SignalName.LOSS_SPIKE, SKIP),
        (SignalName.GRADIENT_SPIKE, SKIP),
    ],
)
def test_each_signal_opens_at_its_default_rung(signal: SignalName, rung: int) -> None:
    state, decision = flag(EngineState(), RecoveryPolicy(), (Signal(signal),))
    assert (decision.rung, decision.attempt, decision.incident) == (rung, 1, 1)
    assert state.rung == rung
    assert state.incidents == 1
    assert signal in decision.reason


def test_signals_that_are_only_observed_decide_nothing() -> None:
    with pytest.raises(ValueError, match="empty"):
        decide(EngineState(), (Signal(SignalName.SANITIZED_VALUES),), RecoveryPolicy())


def test_an_observed_signal_beside_another_does_not_name_the_incident() -> None:
    policy = load_policy({"reactions": {"loss_spike": "observe"}})
    _, decision = flag(EngineState(), policy, (Signal(SignalName.LOSS_SPIKE), Signal(SignalName.GRADIENT_SPIKE)))
    assert decision.rung == SKIP
    assert decision.reason.startswith("gradient_spike opens incident 1")


def test_the_highest_of_several_reactions_counts_and_the_first_signal_names_the_incident() -> None:
    _, decision = flag(EngineState(), RecoveryPolicy(), (*LOSS, *PARAMETER))
    assert decision.rung == RELOAD
    assert "nonfinite_loss opens incident 1" in decision.reason
    assert "reaction to nonfinite_parameter" in decision.reason


def test_a_higher_reaction_in_an_open_incident_moves_it_up() -> None:
    state, first = flag(EngineState(), RecoveryPolicy())
    state, second = flag(state, RecoveryPolicy(), PARAMETER)
    assert [first.rung, second.rung] == [SKIP, RELOAD]
    assert second.incident == 1


def test_a_lower_reaction_in_an_open_incident_does_not_move_it_down() -> None:
    state, _ = flag(EngineState(), RecoveryPolicy(), PARAMETER)
    state, second = flag(state, RecoveryPolicy(), LOSS)
    assert (second.rung, second.attempt) == (RELOAD, 2)
    _, third = flag(state, RecoveryPolicy(), LOSS)
    assert third.rung == CURES


def test_attempts_need_not_be_in_a_row() -> None:
    policy = RecoveryPolicy()
    state = EngineState()
    rungs = []
    for _ in range(4):
        state, decision = flag(state, policy)
        rungs.append(decision.rung)
        state, _ = healthy(state, policy, policy.cooldown_steps - 1)
    assert rungs == [SKIP, SKIP, SKIP, LOWER]


def test_the_cool_down_closes_the_incident_and_names_its_cure() -> None:
    policy = RecoveryPolicy()
    state = EngineState()
    for _ in range(4):
        state, _ = flag(state, policy)
    state, closings = healthy(state, policy, policy.cooldown_steps)
    assert [c.incident for c in closings] == [None] * 19 + [1]
    assert closings[-1].cured_by is ActionName.LOWER_LR
    assert state.incident is None
    assert state.rung is None
    _, decision = flag(state, policy)
    assert (decision.incident, decision.rung, decision.attempt) == (2, SKIP, 1)


def test_a_flagged_update_starts_the_cool_down_anew() -> None:
    policy = RecoveryPolicy(cooldown_steps=3)
    state, _ = flag(EngineState(), policy)
    state, _ = healthy(state, policy, 2)
    state, decision = flag(state, policy)
    assert decision.attempt == 2
    state, closings = healthy(state, policy, 3)
    assert [c.incident for c in closings] == [None, None, 1]


def test_healthy_steps_without_an_incident_close_nothing() -> None:
    state, closings = healthy(EngineState(), RecoveryPolicy(), 50)
    assert set(closings) == {Closed()}
    assert state == EngineState(clock=50)


class TestLimits:
    def test_a_spent_limit_is_passed_over_with_the_reason(self) -> None:
        policy = policy_of(
            {"action": "skip_batch", "attempts": 9, "limit": {"uses": 2, "window_updates": 50}},
            {"action": "reload_checkpoint", "attempts": 9},
        )
        decisions = climb(policy, 3)
        assert [d.rung for d in decisions] == [0, 0, 1]
        assert "skip_batch (its limit of 2 uses in 50 updates is spent)" in decisions[2].reason

    def test_spent_attempts_are_named(self) -> None:
        decisions = climb(policy_of({"action": "skip_batch", "attempts": 1}), 2)
        assert decisions[1].action is ActionName.HALT
        assert "skip_batch (its 1 attempt in this incident is spent)" in decisions[1].reason

    @pytest.mark.parametrize(("gap", "usable"), [(9, False), (10, True)])
    def test_a_use_leaves_the_window_after_exactly_its_updates(self, gap: int, usable: bool) -> None:
        policy = policy_of(
            {"action": "skip_batch", "attempts": 5, "limit": {"uses": 1, "window_updates": 10}}, cooldown_steps=1
        )
        state, _ = flag(EngineState(), policy)
        state, _ = healthy(state, policy, gap - 1)
        _, decision = flag(state, policy)
        assert (decision.action is ActionName.SKIP_BATCH) is usable

    def test_a_limit_spans_incidents(self) -> None:
        policy = policy_of({"action": "skip_batch", "limit": {"uses": 2, "window_updates": 1000}}, cooldown_steps=1)
        state = EngineState()
        actions = []
        for _ in range(3):
            state, decision = flag(state, policy)
            state, _ = healthy(state, policy, 1)
            actions.append((decision.incident, decision.action))
        assert actions == [(1, ActionName.SKIP_BATCH), (2, ActionName.SKIP_BATCH), (3, ActionName.HALT)]

    def test_updates_that_come_again_do_not_move_the_window(self) -> None:
        policy = policy_of({"action": "skip_batch", "attempts": 5, "limit": {"uses": 1, "window_updates": 2}})
        state, _ = decide(EngineState().tick(), LOSS, policy)
        # No tick: the batches are replayed.
        for _ in range(5):
            _, decision = decide(state, LOSS, policy)
            assert decision.action is ActionName.HALT

    def test_no_limit_is_no_limit(self) -> None:
        policy = policy_of({"action": "skip_batch", "attempts": 500, "limit": None})
        assert {d.rung for d in climb(policy, 500)} == {0}

    def test_old_uses_do_not_pile_up_in_the_memory(self) -> None:
        policy = policy_of({"action": "skip_batch", "limit": {"uses": 3, "window_updates": 4}}, cooldown_steps=1)
        state = EngineState()
        for _ in range(50):
            state, _ = flag(state, policy)
            state, _ = healthy(state, policy, 3)
        assert len(state.uses[0]) <= 3


class TestBlocked:
    def test_a_rung_that_cannot_act_is_passed_over_with_its_reason(self) -> None:
        state, decision = flag(EngineState(), RecoveryPolicy(), PARAMETER, blocked={RELOAD: "no good state"})
        assert decision.rung == CURES
        assert "passed over: reload_checkpoint (no good state)" in decision.reason
        # It was not used: neither an attempt nor its limit is spent.
        assert state.incident is not None
        assert state.incident.attempts[RELOAD] == 0
        assert state.uses[RELOAD] == ()

    def test_everything_blocked_is_a_halt(self) -> None:
        _, decision = flag(EngineState(), RecoveryPolicy(), blocked=dict.fromkeys(range(HALT), "broken"))
        assert decision.action is ActionName.HALT
        assert decision.reason.count("(broken)") == HALT

    def test_halt_itself_cannot_be_blocked(self) -> None:
        _, decision = flag(EngineState(), RecoveryPolicy(), blocked=dict.fromkeys(range(HALT + 1), "broken"))
        assert decision.action is ActionName.HALT

    def test_a_rung_that_was_passed_over_is_not_come_back_to(self) -> None:
        state, _ = flag(EngineState(), RecoveryPolicy(), blocked={SKIP: "not now"})
        _, decision = flag(state, RecoveryPolicy())
        assert decision.rung == LOWER


class TestReject:
    def test_a_failed_action_spends_its_rung_and_the_next_is_taken_at_once(self) -> None:
        state, failed = flag(EngineState(), RecoveryPolicy(), PARAMETER)
        state, decision = reject(state, failed, "the disk is gone", RecoveryPolicy())
        assert (failed.rung, decision.rung) == (RELOAD, CURES)
        assert decision.incident == failed.incident
        assert "reload_checkpoint failed (the disk is gone)" in decision.reason
        assert state.clock == 1
        state, later = flag(state, RecoveryPolicy(), PARAMETER)
        assert later.rung == REINITIALIZE
        _, last = flag(state, RecoveryPolicy(), PARAMETER)
        assert last.rung == HALT

    def test_a_failed_action_counts_towards_its_limit(self) -> None:
        policy = policy_of(
            {"action": "reload_checkpoint", "limit": {"uses": 1, "window_updates": 100}}, cooldown_steps=1
        )
        state, failed = flag(EngineState(), policy)
        state, _ = reject(state, failed, "torn", policy)
        assert len(state.uses[0]) == 1

    def test_the_rung_is_fresh_in_the_next_incident(self) -> None:
        policy = RecoveryPolicy(cooldown_steps=1)
        state, failed = flag(EngineState(), policy, PARAMETER)
        state, _ = reject(state, failed, "torn", policy)
        state, _ = healthy(state, policy, 1)
        _, decision = flag(state, policy, PARAMETER)
        assert (decision.rung, decision.attempt, decision.incident) == (RELOAD, 1, 2)

    def test_a_failed_halt_is_still_a_halt(self) -> None:
        policy = policy_of()
        state, failed = flag(EngineState(), policy)
        _, decision = reject(state, failed, "no", policy)
        assert decision.action is ActionName.HALT

    def test_nothing_can_fail_without_an_incident(self) -> None:
        _, failed = flag(EngineState(), RecoveryPolicy())
        with pytest.raises(ValueError, match="incident is open"):
            reject(EngineState(), failed, "?", RecoveryPolicy())


class TestLearningRate:
    POLICY = policy_of(
        {"action": "lower_lr", "attempts": 2, "factor": 0.5, "restore_after_steps": 7},
        {"action": "reload_checkpoint"},
        cooldown_steps=3,
    )

    def test_without_cuts_the_scale_is_exactly_one(self) -> None:
        assert EngineState().lr_scale == 1.0

    def test_the_scale_is_the_product_of_the_cuts(self) -> None:
        state, _ = flag(EngineState(), self.POLICY)
        assert state.lr_scale == 0.5
        state, _ = flag(state, self.POLICY)
        assert state.lr_scale == 0.25

    def test_each_cut_is_taken_back_after_its_own_healthy_steps(self) -> None:
        state, _ = flag(EngineState(), self.POLICY)
        state, _ = healthy(state, self.POLICY, 2)
        state, _ = flag(state, self.POLICY)
        state, closings = healthy(state, self.POLICY, 4)
        assert state.lr_scale == 0.25
        state, more = healthy(state, self.POLICY, 1)
        assert state.lr_scale == 0.5
        state, last = healthy(state, self.POLICY, 2)
        assert state.lr_scale == 1.0
        assert [c.cuts_taken_back for c in (*closings, *more, *last)] == [0, 0, 0, 0, 1, 0, 1]

    def test_cuts_that_a_higher_rung_cured_are_taken_back_when_the_incident_closes(self) -> None:
        state = EngineState()
        for _ in range(3):
            state, decision = flag(state, self.POLICY)
        assert decision.action is ActionName.RELOAD_CHECKPOINT
        assert state.lr_scale == 0.25
        state, _ = healthy(state, self.POLICY, 2)
        assert state.lr_scale == 0.25
        state, closings = healthy(state, self.POLICY, 1)
        assert closings[0] == Closed(1, ActionName.RELOAD_CHECKPOINT, 2)
        assert state.lr_scale == 1.0

    def test_cuts_of_an_earlier_incident_outlive_the_cure_of_a_later_one(self) -> None:
        state, _ = flag(EngineState(), self.POLICY)
        state, _ = healthy(state, self.POLICY, 3)
        assert state.incident is None
        assert state.lr_scale == 0.5
        state, _ = flag(state, self.POLICY, (Signal(SignalName.NONFINITE_PARAMETER),))
        state, closings = healthy(state, self.POLICY, 3)
        assert closings[-1].cured_by is ActionName.RELOAD_CHECKPOINT
        assert state.lr_scale == 0.5

    def test_a_cut_that_was_the_cure_stays(self) -> None:
        state, _ = flag(EngineState(), self.POLICY)
        state, closings = healthy(state, self.POLICY, 3)
        assert closings[-1] == Closed(1, ActionName.LOWER_LR, 0)
        assert state.lr_scale == 0.5

    def test_two_lower_lr_rungs_are_told_apart(self) -> None:
        policy = policy_of(
            {"action": "lower_lr", "attempts": 1, "factor": 0.5},
            {"action": "lower_lr", "attempts": 1, "factor": 0.1},
            cooldown_steps=2,
        )
        state, _ = flag(EngineState(), policy)
        state, _ = flag(state, policy)
        assert state.lr_scale == 0.5 * 0.1
        state, closings = healthy(state, policy, 2)
        assert state.lr_scale == 0.1
        assert closings[-1].cuts_taken_back == 1


class TestGoingBackWithoutProgress:
    POLICY = policy_of(
        {"action": "reload_checkpoint", "attempts": 9, "limit": {"uses": 2, "window_updates": 4}}, cooldown_steps=1
    )

    def restore(self, state: EngineState, step: int) -> tuple[EngineState, Decision]:
        state, _ = healthy(state, self.POLICY, 10)  # far enough for the window to forget
        state, decision = flag(state, self.POLICY)
        if decision.action is ActionName.RELOAD_CHECKPOINT:
            state = state.restored(decision.rung, step)
        return state, decision

    def test_a_rung_that_goes_back_to_the_same_step_again_and_again_is_passed_over(self) -> None:
        state = EngineState()
        for _ in range(2):
            state, decision = self.restore(state, 40)
            assert decision.action is ActionName.RELOAD_CHECKPOINT
        _, decision = self.restore(state, 40)
        assert decision.action is ActionName.HALT
        assert "it went back 2 times, no further than step 40" in decision.reason

    def test_an_older_state_is_no_progress_either(self) -> None:
        state, _ = self.restore(EngineState(), 40)
        state, _ = self.restore(state, 20)
        _, decision = self.restore(state, 40)
        assert decision.action is ActionName.HALT

    def test_progress_counts_anew(self) -> None:
        state = EngineState()
        for step in range(0, 400, 20):
            state, decision = self.restore(state, step)
            assert decision.action is ActionName.RELOAD_CHECKPOINT

    def test_each_rung_is_counted_for_itself(self) -> None:
        state = EngineState().restored(2, 10).restored(3, 10).restored(2, 5)
        assert state.restores == (0, 0, 2, 1)
        assert state.furthest_restored_step == 10
        assert state.restored(3, 11).restores == (0, 0, 0, 1)


class TestTheCutOfAReloadThatLedNoFurther:
    POLICY = policy_of(
        {"action": "lower_lr", "attempts": 1, "factor": 0.5},
        {
            "action": "reload_checkpoint",
            "attempts": 9,
            "retry_factor": 0.1,
            "restore_after_steps": 40,
            "limit": {"uses": 9, "window_updates": 2000},
        },
        cooldown_steps=3,
    )

    def reload(self, state: EngineState, step: int, policy: RecoveryPolicy = POLICY) -> EngineState:
        state, decision = flag(state, policy, PARAMETER)
        assert decision.action is ActionName.RELOAD_CHECKPOINT
        return restored(state, decision.rung, step, policy)

    def test_the_first_reload_leaves_the_rate(self) -> None:
        state, _ = healthy(EngineState(), self.POLICY, 10)
        assert self.reload(state, 0).lr_scale == 1.0

    @pytest.mark.parametrize("steps", [1, 5], ids=["same incident", "next incident"])
    def test_one_that_follows_healthy_steps_cuts_it(self, steps: int) -> None:
        state, _ = healthy(self.reload(EngineState(), 20), self.POLICY, steps)
        state = self.reload(state, 20)
        assert state.lr_scale == 0.1
        state, _ = healthy(state, self.POLICY, 1)
        assert self.reload(state, 20).lr_scale == pytest.approx(0.01)

    def test_an_older_state_is_no_progress_either(self) -> None:
        state, _ = healthy(self.reload(EngineState(), 40), self.POLICY, 1)
        assert self.reload(state, 20).lr_scale == 0.1

    def test_one_that_fails_at_once_leaves_it_for_no_update_was_made(self) -> None:
        state = self.reload(EngineState(), 20)
        assert self.reload(state, 20).lr_scale == 1.0

    def test_progress_leaves_it(self) -> None:
        state, _ = healthy(self.reload(EngineState(), 20), self.POLICY, 30)
        assert self.reload(state, 40).lr_scale == 1.0

    @pytest.mark.parametrize("cause", [None, *CauseKind])
    def test_what_no_rate_can_help_leaves_it(self, cause: CauseKind | None) -> None:
        state, _ = healthy(self.reload(EngineState(), 20), self.POLICY, 1)
        state, decision = flag(state, self.POLICY, PARAMETER)
        blameless = cause in (
            CauseKind.BAD_INPUT,
            CauseKind.EXCEPTION,
            CauseKind.HIDDEN_STATE,
            CauseKind.NOT_REPRODUCIBLE,
        )
        after = restored(state, decision.rung, 20, self.POLICY, cause=cause)
        assert after.lr_scale == (1.0 if blameless else 0.1)

    def test_null_leaves_it(self) -> None:
        policy = policy_of({"action": "reload_checkpoint", "attempts": 9, "retry_factor": None})
        state, _ = healthy(self.reload(EngineState(), 20, policy), policy, 1)
        assert self.reload(state, 20, policy).lr_scale == 1.0

    def test_it_outlives_the_incident_that_a_lower_cut_does_not_and_is_taken_back(self) -> None:
        state, _ = flag(EngineState(), self.POLICY)
        state, _ = healthy(self.reload(state, 20), self.POLICY, 1)
        state = self.reload(state, 20)
        assert state.lr_scale == pytest.approx(0.05)
        state, closings = healthy(state, self.POLICY, 3)
        assert closings[-1] == Closed(1, ActionName.RELOAD_CHECKPOINT, 1)
        assert state.lr_scale == 0.1
        state, _ = healthy(state, self.POLICY, 36)
        assert state.lr_scale == 0.1
        state, _ = healthy(state, self.POLICY, 1)
        assert state.lr_scale == 1.0


class TestRedrawing:
    SPIKE = (Signal(SignalName.LOSS_SPIKE),)
    POLICY = policy_of(
        {"action": "reload_checkpoint", "attempts": 1, "limit": {"uses": 9, "window_updates": 2000}},
        {"action": "reinitialize", "attempts": 9},
    )

    def reloaded(self) -> EngineState:
        state, decision = flag(EngineState(), self.POLICY)
        return restored(state, decision.rung, 20, self.POLICY)

    def test_it_is_passed_over_where_the_good_state_spikes_before_its_first_update(self) -> None:
        _, decision = flag(self.reloaded(), self.POLICY, self.SPIKE)
        assert decision.action is ActionName.HALT
        assert "the batches are at fault" in decision.reason

    def test_it_acts_where_updates_led_to_the_spike(self) -> None:
        state, _ = healthy(self.reloaded(), self.POLICY, 1)
        _, decision = flag(state, self.POLICY, self.SPIKE)
        assert decision.action is ActionName.REINITIALIZE

    @pytest.mark.parametrize("signals", [LOSS, (*LOSS, *SPIKE)], ids=["non-finite", "with a spike beside"])
    def test_it_acts_on_what_is_not_finite(self, signals: tuple[Signal, ...]) -> None:
        _, decision = flag(self.reloaded(), self.POLICY, signals)
        assert decision.action is ActionName.REINITIALIZE

    def test_it_acts_where_nothing_was_restored(self) -> None:
        policy = policy_of({"action": "reinitialize"})
        _, decision = flag(EngineState(), policy, self.SPIKE)
        assert decision.action is ActionName.REINITIALIZE


def test_a_new_ladder_keeps_cuts_and_counts_and_forgets_the_position() -> None:
    state = EngineState()
    for signals in (LOSS, LOSS, LOSS, LOSS, PARAMETER):
        state, _ = flag(state, RecoveryPolicy(), signals)
    assert state.cuts
    fresh = state.for_new_ladder()
    assert (fresh.clock, fresh.incidents, fresh.cuts) == (state.clock, state.incidents, state.cuts)
    short = policy_of({"action": "skip_batch"})
    after, decision = flag(fresh, short)
    assert (decision.incident, decision.rung, decision.attempt) == (2, 0, 1)
    assert after.lr_scale == state.lr_scale


def test_deciding_changes_none_of_its_arguments() -> None:
    state, _ = flag(EngineState(), RecoveryPolicy())
    before = state.to_plain()
    decide(state, LOSS, RecoveryPolicy())
    advance(state, RecoveryPolicy())
    state.restored(2, 3)
    assert state.to_plain() == before


def test_a_cause_enters_the_ladder_where_its_reaction_says() -> None:
    policy = load_policy({"reactions": {"backward_only": "reinitialize"}})
    for cause, rung in {
        None: SKIP,
        CauseKind.BAD_INPUT: SKIP,
        CauseKind.POISONED_OPTIMIZER_STATE: RELOAD,
        CauseKind.BACKWARD_ONLY: REINITIALIZE,
    }.items():
        _, decision = decide(EngineState().tick(), LOSS, policy, cause=cause)
        assert decision.rung == rung
        assert ("by the reaction to" in decision.reason) is (rung > 0)
    _, decision = decide(EngineState().tick(), PARAMETER, policy, cause=CauseKind.BAD_INPUT)
    assert decision.rung == RELOAD, "the higher of signal and cause"


def test_a_step_that_cannot_be_reproduced_is_tried_again_once_an_incident_where_the_policy_says_so() -> None:
    retrying = load_policy({"reactions": {"not_reproducible": "retry"}})
    state, first = decide(EngineState().tick(), LOSS, retrying, cause=CauseKind.NOT_REPRODUCIBLE, can_retry=True)
    assert (first.action, first.retry) == (ActionName.SKIP_BATCH, True)
    state, again = decide(state.tick(), LOSS, retrying, cause=CauseKind.NOT_REPRODUCIBLE, can_retry=True)
    assert (again.action, again.retry) == (ActionName.SKIP_BATCH, False)
    state, _ = healthy(state, retrying, retrying.cooldown_steps)
    _, anew = decide(state.tick(), LOSS, retrying, cause=CauseKind.NOT_REPRODUCIBLE, can_retry=True)
    assert anew.retry
    for policy, cause, can_retry in (
        (retrying, CauseKind.NOT_REPRODUCIBLE, False),
        (retrying, CauseKind.BAD_INPUT, True),
        (RecoveryPolicy(), CauseKind.NOT_REPRODUCIBLE, True),
    ):
        assert not decide(EngineState().tick(), LOSS, policy, cause=cause, can_retry=can_retry)[1].retry


class TestCures:
    """A reload that led no further gives way to `try_cures`, where that can act."""

    LED_NOWHERE = EngineState(furthest_restored_step=5, restores=(0, 0, 1), stepped_since_restore=True)

    def blocked(self, state: EngineState, newest: int | None = 5, **given: Any) -> dict[int, str]:
        return no_further(state, RecoveryPolicy(), newest, **{"blocked": {}, "cause": None, **given})

    def test_the_reload_is_passed_over_with_the_reason(self) -> None:
        blocked = self.blocked(self.LED_NOWHERE)
        assert blocked == {RELOAD: "a reload led no further than step 5: cures are tried first"}
        _, decision = decide(self.LED_NOWHERE.tick(), PARAMETER, RecoveryPolicy(), blocked=blocked)
        assert (decision.rung, decision.action) == (CURES, ActionName.TRY_CURES)

    @pytest.mark.parametrize(
        ("state", "given"),
        [
            (EngineState(), {}),
            (LED_NOWHERE, {"newest": 6}),
            (LED_NOWHERE, {"newest": None}),
            (LED_NOWHERE, {"cause": CauseKind.BAD_INPUT}),
            (LED_NOWHERE, {"blocked": {CURES: "no replay"}}),
            (replace(LED_NOWHERE, stepped_since_restore=False), {}),
            (replace(LED_NOWHERE, uses=((), (), (), (0, 0), (), ())), {}),
        ],
    )
    def test_but_not_where_it_led_further_or_no_cure_can_be_tried(self, state: EngineState, given: Any) -> None:
        assert self.blocked(state, **given) == {}

    def test_without_the_rung_nothing_is_passed_over(self) -> None:
        policy = load_policy({"ladder": [{"action": "reload_checkpoint"}, {"action": "reinitialize"}]})
        assert no_further(self.LED_NOWHERE, policy, 5, blocked={}, cause=None) == {}

    def test_where_no_cure_helps_the_reload_has_its_turn_and_the_rate_stays(self) -> None:
        """Other rates were among the cures, and none trained better."""
        state = self.LED_NOWHERE.tick()
        state, failed = decide(state, PARAMETER, RecoveryPolicy(), blocked=self.blocked(state))
        state, decision = reject(state, failed, "none of them helps", RecoveryPolicy())
        assert decision.rung == RELOAD
        assert restored(state, decision.rung, 5, RecoveryPolicy()).lr_scale == 1.0
        untried, _ = decide(self.LED_NOWHERE.tick(), PARAMETER, RecoveryPolicy(), blocked={CURES: "no data"})
        assert restored(untried, decision.rung, 5, RecoveryPolicy()).lr_scale == 0.1
        state, last = flag(state, RecoveryPolicy(), PARAMETER)
        assert last.rung == RELOAD
        assert flag(state, RecoveryPolicy(), PARAMETER)[1].rung == REINITIALIZE

    def test_a_rung_that_could_not_be_used_says_why(self) -> None:
        assert passed_over(EngineState(), CURES, RecoveryPolicy()) is None
        assert passed_over(EngineState(), CURES, RecoveryPolicy(), blocked={CURES: "no data"}) == "no data"

    def test_an_incident_in_which_nothing_was_to_be_done_is_over(self) -> None:
        state, _ = flag(EngineState(), RecoveryPolicy())
        assert dismissed(state).incident is None
        assert dismissed(state).incidents == 1

    def test_batches_that_are_merely_odd_on_an_untouched_good_state_say_nothing_about_the_set_up(self) -> None:
        state = replace(self.LED_NOWHERE, stepped_since_restore=False).tick()
        odd = (Signal(SignalName.LOSS_SPIKE),)
        _, decision = decide(state, odd, RecoveryPolicy(), blocked=dict.fromkeys((SKIP, LOWER, RELOAD), "spent"))
        assert decision.rung == HALT
        assert "try_cures (a good state spiked before its first update" in decision.reason
