"""Where a run stands: each verb, any sequence of them, and the way through a file and back."""

from __future__ import annotations

import math
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from support.parts import NAN_LOSS, attempt_of, policy_of, through_a_file

from supervisor.diagnosis import Diagnosis
from supervisor.engine import Closed, EngineState
from supervisor.policy import RecoveryPolicy, load_policy
from supervisor.record.run_ledger import RunLedger
from supervisor.records import (
    NOTHING_FOUND,
    ActionName,
    Bundle,
    Cause,
    CauseKind,
    Decision,
    Observation,
    Outcome,
    Signal,
    SignalName,
)
from supervisor.testing.clock import FakeClock
from supervisor.update import Place, Raised

FIXTURE = Path(__file__).resolve().parents[2] / "fixtures" / "run_of_version_0_1.tar.gz"
SPIKE = (Signal(SignalName.LOSS_SPIKE), Signal(SignalName.GRADIENT_SPIKE))
CAUSE = Cause(CauseKind.BAD_INPUT, "sample 2", 0, 0, samples=(2,), dataset_indices=(5, "row-7"))
POLICY = policy_of(
    {"action": "skip_batch", "attempts": 2},
    {"action": "lower_lr", "attempts": 1, "factor": 0.5, "restore_after_steps": 3},
    {"action": "reload_checkpoint", "attempts": 2},
    cooldown_steps=2,
)


class Run:
    """A ledger, and updates that are taken through it."""

    def __init__(self, policy: RecoveryPolicy = POLICY) -> None:
        self.clock = FakeClock()
        self.ledger = RunLedger(policy, self.clock)

    def healthy(self, times: int = 1, **seen: Any) -> list[Any]:
        found = []
        for _ in range(times):
            place = self.ledger.begin(self.ledger.counters.update + 1)
            found.append(
                self.ledger.applied(Observation(place.step, place.update, 1.0, 1.0, **seen)) or (Closed(), None)
            )
        return found

    def flag(self, signals: Any = NAN_LOSS, *, used_up: bool = True, **options: Any) -> tuple[Decision, bool]:
        place = self.ledger.begin(self.ledger.counters.update + 1)
        attempt = attempt_of(place.step, place.update, loss=math.nan)
        attempt.raised = options.pop("raised", None)
        self.ledger.flagged()
        found = self.ledger.decide(
            attempt, signals, options.pop("blocked", {}), **{"cause": None, "can_retry": False, **options}
        )
        if used_up:
            self.ledger.used_up()
        return found


class TestCounting:
    def test_an_update_begins_where_the_run_stands(self) -> None:
        run = Run()
        assert run.ledger.begin(1) == Place(0, 0, False)
        run.ledger.used_up()
        assert run.ledger.begin(2) == Place(1, 1, False)
        assert run.ledger.last_update == 1

    @pytest.mark.parametrize("replay_until", [0, 5])
    def test_batches_that_nobody_drew_never_come_again(self, replay_until: int) -> None:
        """Where the guard has data and is handed other batches all the same, its data stay where they begin."""
        run = Run()
        run.ledger.stands_at(0, 0, 0.0, replay_until)
        assert not run.ledger.begin(0).replayed
        assert run.ledger.engine.clock == 1

    def test_before_the_first_update_there_is_no_last_one(self) -> None:
        assert Run().ledger.last_update is None

    def test_an_applied_update_counts_as_a_step_and_its_loss_is_the_last(self) -> None:
        run = Run()
        run.healthy(3)
        counters = run.ledger.counters
        assert (counters.step, counters.update, counters.applied_steps, counters.skipped_steps) == (3, 3, 3, 0)
        assert counters.final_loss == 1.0

    def test_a_discarded_one_uses_up_its_step_where_no_action_goes_back(self) -> None:
        run = Run()
        run.flag()
        counters = run.ledger.counters
        assert (counters.step, counters.update, counters.applied_steps, counters.skipped_steps) == (1, 1, 0, 1)
        run.flag(used_up=False)
        assert (counters.step, counters.update, counters.skipped_steps) == (1, 2, 2)

    @pytest.mark.parametrize("replayed", [False, True])
    def test_one_that_was_broken_off_had_never_begun(self, replayed: bool) -> None:
        run = Run()
        run.ledger.stands_at(0, 0, 0.0, 5 if replayed else 0)
        run.ledger.cancel(run.ledger.begin(1))
        assert (run.ledger.counters.update, run.ledger.engine.clock, run.ledger.last_update) == (0, 0, None)

    def test_the_clock_of_the_engine_counts_what_is_not_replayed(self) -> None:
        run = Run()
        run.ledger.stands_at(0, 0, 0.0, 2)
        assert [run.ledger.begin(number).replayed for number in (1, 2, 3)] == [True, True, False]
        assert (run.ledger.engine.clock, run.ledger.counters.update) == (1, 3)

    def test_going_back_leaves_the_updates_and_never_shortens_a_replay(self) -> None:
        run = Run()
        run.healthy(5)
        run.ledger.stands_at(2, 1, 7.5, 9)
        counters = run.ledger.counters
        assert (counters.step, counters.applied_steps, counters.useful_seconds) == (2, 1, 7.5)
        assert (counters.update, counters.replay_until) == (5, 9)
        run.ledger.stands_at(2, 1, 7.5, 4)
        assert counters.replay_until == 9

    def test_time_is_counted_by_the_clock_it_was_given(self) -> None:
        run = Run()
        started = run.ledger.now()
        run.clock.advance(2.5)
        assert run.ledger.spent_since(started) == 2.5
        run.clock.advance(1.0)
        assert (run.ledger.counters.useful_seconds, run.ledger.seconds) == (2.5, 3.5)


class TestAnIncident:
    def test_its_record_stands_in_the_engine_alone_and_goes_with_it(self) -> None:
        run = Run()
        assert run.ledger.incident is None
        decision, opens = run.flag()
        assert (decision.action, opens) == (ActionName.SKIP_BATCH, True)
        incident = run.ledger.engine.incident
        assert incident is not None
        assert run.ledger.incident is incident.record is not None
        run.healthy(2)
        assert (run.ledger.engine.incident, run.ledger.incident) == (None, None)

    def test_it_records_what_was_seen_and_decided(self) -> None:
        run = Run()
        run.healthy(3)
        run.clock.advance(1.5)
        run.flag()
        decision, opens = run.flag(SPIKE)
        record = run.ledger.incident
        assert record is not None
        assert not opens
        assert (record.id, record.opened_at_step, record.opened_at_update, record.opened_at_seconds) == (1, 3, 3, 1.5)
        assert record.signals == ("nonfinite_loss", "loss_spike", "gradient_spike")
        assert [each.attempt for each in record.decisions] == [1, 2]
        assert record.decisions[-1] == decision
        assert (record.steps_lost, record.outcome, record.cured_by) == (2, Outcome.OPEN, None)
        assert run.ledger.by_signal == {"nonfinite_loss": 1}

    def test_the_first_traceback_in_it_is_kept(self) -> None:
        run = Run()
        run.flag()
        for text in ("the first", "the second"):
            run.flag(raised=Raised("RuntimeError", "RuntimeError", None, None, text))
        record = run.ledger.incident
        assert record is not None
        assert record.traceback == "the first"

    def test_its_cure_is_counted_and_its_record_handed_out(self) -> None:
        run = Run()
        run.clock.advance(3.0)
        run.flag()
        run.clock.advance(4.0)
        (first, nothing), (closed, record) = run.healthy(2)
        assert (first, nothing) == (Closed(), None)
        assert (closed.incident, closed.cured_by) == (1, ActionName.SKIP_BATCH)
        assert record is not None
        assert (record.outcome, record.cured_by, record.closed_at_step, record.seconds) == (
            Outcome.RECOVERED,
            ActionName.SKIP_BATCH,
            2,
            4.0,
        )
        assert run.ledger.cured_by == {"skip_batch": 1}

    def test_replayed_updates_are_no_cure(self) -> None:
        run = Run()
        run.flag()
        assert [closed for closed, _ in run.healthy(5, replayed=True)] == [Closed()] * 5
        assert run.ledger.incident is not None
        assert run.ledger.counters.applied_steps == 5

    def test_a_second_one_has_the_next_number(self) -> None:
        run = Run()
        run.flag()
        run.healthy(2)
        run.flag(SPIKE)
        record = run.ledger.incident
        assert record is not None
        assert (record.id, record.signals) == (2, ("loss_spike", "gradient_spike"))
        assert run.ledger.by_signal == {"nonfinite_loss": 1, "loss_spike": 1}

    def test_what_looking_into_it_found_is_in_it(self) -> None:
        run = Run()
        run.flag()
        run.ledger.bundled(Bundle("batch.pt", "state.pt"))
        run.ledger.diagnosed(Diagnosis(CAUSE, replays=3))
        run.ledger.diagnosed(Diagnosis(None, "it took too long", replays=2))
        record = run.ledger.incident
        assert record is not None
        assert (record.bundle, record.causes, record.replays) == (Bundle("batch.pt", "state.pt"), (CAUSE,), 5)

    @pytest.mark.parametrize(("failure", "why"), [("no way", "no way"), (None, NOTHING_FOUND)])
    def test_why_its_first_update_is_not_explained_is_kept(self, failure: str | None, why: str) -> None:
        run = Run()
        run.flag()
        run.ledger.diagnosed(Diagnosis(None, failure))
        run.flag()
        run.ledger.diagnosed(Diagnosis(None, "another reason"))
        assert run.ledger.incident is not None
        assert run.ledger.incident.not_known == why
        assert copy_of(run).incident == run.ledger.incident

    def test_without_one_there_is_nothing_to_note(self) -> None:
        run = Run()
        run.ledger.bundled(Bundle(None, None))
        run.ledger.diagnosed(Diagnosis(CAUSE))
        run.ledger.halt(3)
        assert (run.ledger.incident, run.ledger.engine) == (None, EngineState())

    def test_what_blocks_a_rung_and_what_caused_it_reach_the_engine(self) -> None:
        run = Run()
        decision, _ = run.flag(blocked={0: "the shop is shut"})
        assert decision.action is ActionName.LOWER_LR
        assert "the shop is shut" in decision.reason
        run = Run()
        decision, _ = run.flag(cause=CauseKind.POISONED_PARAMETER)
        assert decision.action is ActionName.RELOAD_CHECKPOINT
        run = Run(policy_of(reactions={"not_reproducible": "retry"}))
        assert run.flag(cause=CauseKind.NOT_REPRODUCIBLE, can_retry=True)[0].retry

    def test_an_action_that_failed_is_decided_again_and_both_are_in_it(self) -> None:
        run = Run()
        failed, _ = run.flag()
        again = run.ledger.reject(failed, "out of paper", {1: "shut"})
        record = run.ledger.incident
        assert again.action is ActionName.RELOAD_CHECKPOINT
        assert "skip_batch failed (out of paper)" in again.reason
        assert record is not None
        assert record.decisions == (failed, again)
        assert record.steps_lost == 1

    def test_going_back_costs_the_steps_gone_back_over(self) -> None:
        run = Run()
        run.healthy(8)
        run.flag(used_up=False)
        run.ledger.stands_at(3, 3, 0.0, 0)
        run.ledger.went_back(2, 3, None)
        record = run.ledger.incident
        assert record is not None
        assert record.steps_lost == 1 + 5
        assert run.ledger.engine.furthest_restored_step == 3

    def test_a_step_that_was_flagged_and_then_gone_back_over_is_lost_once(self) -> None:
        """Every update is either applied and stands, or is lost in an incident: in this one or in one before it."""
        run = Run()
        run.healthy(4)
        run.flag()
        run.healthy(2)  # closes the first incident
        run.flag()
        run.flag(used_up=False)
        run.ledger.stands_at(3, 3, 0.0, 0)
        counters, record = run.ledger.counters, run.ledger.incident
        assert record is not None
        assert record.id == 2
        assert record.steps_lost == 2 + 3
        assert counters.update - counters.step == 1 + record.steps_lost

    def test_updates_that_were_undone_with_a_flagged_one_are_lost_too(self) -> None:
        run = Run()
        run.healthy(4)
        place = run.ledger.begin(5)
        attempt = attempt_of(place.step, place.update)
        attempt.gone_back_over = 3
        run.ledger.disowned(3)
        run.ledger.decide(attempt, SPIKE, {}, cause=None, can_retry=False)
        assert run.ledger.incident is not None
        assert run.ledger.incident.steps_lost == 1 + 3

    def test_a_second_reload_without_progress_cuts_the_rate_but_not_for_a_known_cause(self) -> None:
        scales = []
        for cause in (None, CauseKind.BAD_INPUT):
            run = Run()
            for _ in range(2):
                run.healthy(1)
                run.flag(used_up=False)
                run.ledger.went_back(2, 0, cause)
            scales.append(run.ledger.lr_scale)
        assert scales == [0.1, 1.0]

    def test_a_halt_ends_it_as_such_and_it_stays(self) -> None:
        run = Run(policy_of({"action": "halt"}))
        run.clock.advance(3.0)
        run.flag(used_up=False)
        run.clock.advance(2.0)
        run.ledger.halt(5)
        record = run.ledger.incident
        assert record is not None
        assert (record.outcome, record.closed_at_step, record.seconds, record.cured_by) == (
            Outcome.HALTED,
            5,
            2.0,
            None,
        )
        assert run.ledger.halted


class TestCuts:
    def test_a_cut_is_in_force_until_its_healthy_steps_are_over(self) -> None:
        run = Run()
        assert run.ledger.lr_scale == 1.0
        run.flag(blocked={0: "shut"})
        assert run.ledger.lr_scale == 0.5
        found = run.healthy(3)
        assert [(closed.incident, closed.cuts_taken_back) for closed, _ in found] == [(None, 0), (1, 0), (None, 1)]
        assert [record is not None for _, record in found] == [False, True, False]
        assert run.ledger.lr_scale == 1.0


class TestALadderBegunAnew:
    def test_nothing_is_open_any_more_and_the_counts_stay(self) -> None:
        run = Run(policy_of({"action": "halt"}))
        run.flag(used_up=False)
        assert run.ledger.halted
        run.ledger.begin(2)
        run.ledger.begin_ladder_anew()
        assert (run.ledger.incident, run.ledger.halted, run.ledger.engine.incidents) == (None, False, 1)
        assert (run.ledger.counters.update, run.ledger.engine.clock) == (2, 2)

    def test_cuts_stay(self) -> None:
        run = Run()
        run.flag(blocked={0: "shut"})
        run.ledger.begin_ladder_anew()
        assert (run.ledger.lr_scale, run.ledger.engine.uses) == (0.5, ())

    def test_unless_what_the_run_was_halted_for_is_mended(self) -> None:
        run = Run()
        run.flag(blocked={0: "shut"})
        run.ledger.begin_ladder_anew(mended=True)
        assert (run.ledger.lr_scale, run.ledger.incident, run.ledger.engine.incidents) == (1.0, None, 1)


def copy_of(run: Run, policy: RecoveryPolicy = POLICY) -> RunLedger:
    """Another process's ledger, that took back what this one wrote."""
    ledger = RunLedger(policy, FakeClock())
    ledger.load_state_dict(through_a_file(run.ledger.state_dict()))
    return ledger


class TestThroughAFile:
    def test_an_open_incident_comes_back_with_all_that_is_in_it(self) -> None:
        run = Run()
        run.healthy(3)
        run.flag(raised=Raised("RuntimeError", "RuntimeError", None, None, "Traceback"))
        run.ledger.bundled(Bundle("batch.pt", None, True, "too large"))
        run.ledger.diagnosed(Diagnosis(CAUSE, replays=3))
        run.flag(SPIKE)
        run.flag(blocked={1: "shut"})
        run.clock.advance(9.0)
        other = copy_of(run)
        assert other.incident == run.ledger.incident is not None
        assert (other.engine, other.by_signal) == (run.ledger.engine, run.ledger.by_signal)
        assert replace(other.counters, seconds=0.0) == run.ledger.counters
        assert other.seconds == run.ledger.seconds == 9.0
        # Types too: a word of the file is a name again.
        assert other.incident.causes[0].kind is CauseKind.BAD_INPUT
        assert other.incident.decisions[0].action is ActionName.SKIP_BATCH
        assert other.incident.outcome is Outcome.OPEN

    def test_a_halted_run_is_halted(self) -> None:
        policy = policy_of({"action": "halt"})
        run = Run(policy)
        run.flag(used_up=False)
        run.ledger.halt(0)
        other = copy_of(run, policy)
        assert other.halted
        assert other.incident == run.ledger.incident
        assert other.halt_reason == run.ledger.halt_reason is not None
        assert Run().ledger.halt_reason is None

    def test_time_goes_on_where_it_stood(self) -> None:
        run = Run()
        run.clock.advance(5.0)
        clock = FakeClock()
        clock.advance(100.0)
        other = RunLedger(POLICY, clock)
        clock.advance(50.0)
        other.load_state_dict(through_a_file(run.ledger.state_dict()))
        clock.advance(2.0)
        assert other.seconds == 7.0

    def test_what_was_counted_before_is_gone(self) -> None:
        fresh = through_a_file(Run().ledger.state_dict())
        run = Run()
        run.flag()
        run.healthy(1)
        run.ledger.begin(0)
        run.ledger.load_state_dict(fresh)
        assert (run.ledger.engine, run.ledger.incident) == (EngineState(), None)
        assert (run.ledger.by_signal, run.ledger.counters.update) == ({}, 0)


class TestTheFirstVersion:
    def tree(self, folder: Path, step: int) -> Any:
        with tarfile.open(FIXTURE) as archive:
            archive.extractall(folder, filter="data")
        return torch.load(folder / "run" / "checkpoints" / f"step-{step:08d}" / "state.pt", weights_only=True)

    def ledger(self, tree: Any) -> RunLedger:
        ledger = RunLedger(load_policy(None), FakeClock())
        ledger.load_state_dict(tree)
        return ledger

    def test_its_parts_side_by_side_at_the_top_are_taken_back(self, tmp_path: Path) -> None:
        tree = self.tree(tmp_path, 15)
        assert {"counters", "engine", "book"} <= tree.keys()
        assert {"traceback", "bundle", "seconds"} <= tree["book"].keys()
        ledger = self.ledger(tree)
        record = ledger.incident
        assert record is not None
        assert (record.id, record.opened_at_step, record.opened_at_update, record.steps_lost) == (1, 8, 8, 2)
        assert record.signals == ("nonfinite_loss", "nonfinite_gradient")
        assert record.bundle == Bundle("batch.pt", "state.pt")
        assert [cause.samples for cause in record.causes] == [(2,), (2,)]
        assert record.opened_at_seconds == tree["counters"]["seconds"] - tree["book"]["seconds"]
        assert (ledger.counters.step, ledger.engine.clock, ledger.lr_scale) == (15, 15, 0.5)
        assert ledger.by_signal == {"nonfinite_loss": 1}

    def test_a_traceback_beside_the_incident_is_in_it_now(self, tmp_path: Path) -> None:
        tree = self.tree(tmp_path, 15)
        tree["book"]["traceback"] = "Traceback"
        record = self.ledger(tree).incident
        assert record is not None
        assert record.traceback == "Traceback"

    def test_one_without_an_open_incident(self, tmp_path: Path) -> None:
        tree = self.tree(tmp_path, 15)
        tree["book"]["incident"] = tree["engine"]["incident"] = None
        ledger = self.ledger(tree)
        assert (ledger.incident, ledger.counters.step) == (None, 15)


class AnySequence(RuleBasedStateMachine):
    """Updates of every kind in any order, with an account of their own.

    `update` never goes back but by a cancelled begin; the engine's clock counts the updates that are not replayed; the
    incident of the engine and its record come and go together; and a file at any moment gives back all of it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.run = Run()
        self.ledger = self.run.ledger
        self.open: Place | None = None
        self.updates = self.ticks = self.batch = 0
        self.halted = False

    @initialize(policy=st.sampled_from([POLICY, policy_of({"action": "reload_checkpoint"}), policy_of()]))
    def begins(self, policy: RecoveryPolicy) -> None:
        self.run = Run(policy)
        self.ledger = self.run.ledger
        self.policy = policy

    @precondition(lambda self: self.open is None)
    @rule()
    def begin(self) -> None:
        self.batch += 1
        replayed = self.batch <= self.ledger.counters.replay_until
        place = self.ledger.begin(self.batch)
        assert place == Place(self.ledger.counters.step, self.updates, replayed)
        self.open, self.updates, self.ticks = place, self.updates + 1, self.ticks + (not replayed)

    @precondition(lambda self: self.open is not None)
    @rule()
    def cancel(self) -> None:
        assert self.open is not None
        self.ledger.cancel(self.open)
        self.updates, self.ticks, self.batch = self.updates - 1, self.ticks - (not self.open.replayed), self.batch - 1
        self.open = None

    @precondition(lambda self: self.open is not None)
    @rule()
    def applied(self) -> None:
        place, step = self.open, self.ledger.counters.step
        assert place is not None
        seen = Observation(place.step, place.update, 1.0, 1.0, replayed=place.replayed)
        closed, record = self.ledger.applied(seen) or (Closed(), None)
        assert (record is not None) == (closed.incident is not None)
        assert self.ledger.counters.step == step + 1
        self.open = None

    @precondition(lambda self: self.open is not None)
    @rule(
        signals=st.sampled_from([NAN_LOSS, SPIKE]),
        fails=st.integers(0, 2),
        back=st.integers(0, 9),
        replay=st.booleans(),
        cause=st.sampled_from([None, CauseKind.BAD_INPUT, CauseKind.POISONED_PARAMETER]),
    )
    def answered(self, signals: Any, fails: int, back: int, replay: bool, cause: CauseKind | None) -> None:
        place, ledger = self.open, self.ledger
        assert place is not None
        self.open = None
        attempt = attempt_of(place.step, place.update, loss=math.nan, replayed=place.replayed)
        ledger.flagged()
        decision, _ = ledger.decide(attempt, signals, {}, cause=cause, can_retry=True)
        if cause is not None:
            ledger.diagnosed(Diagnosis(replace(CAUSE, kind=cause), replays=1))
        while fails and decision.action is not ActionName.HALT:
            fails -= 1
            decision = ledger.reject(decision, "it failed", {})
        if decision.action is ActionName.HALT:
            ledger.halt(place.step)
            # As a resume under another policy does.
            self._through_a_file()
            assert self.ledger.halted
            self.ledger.begin_ladder_anew()
        elif decision.action in (ActionName.RELOAD_CHECKPOINT, ActionName.REINITIALIZE):
            step = min(back, ledger.counters.step)
            ledger.went_back(decision.rung, step, cause)
            ledger.stands_at(step, step, 0.0, self.batch if replay else 0)
            self.batch -= min(self.batch, back) if replay else 0
            assert ledger.counters.step == step
        else:
            ledger.used_up()

    @precondition(lambda self: self.open is None)
    @rule()
    def resumed(self) -> None:
        self._through_a_file()

    def _through_a_file(self) -> None:
        before, other = self.ledger, RunLedger(self.policy, FakeClock())
        other.load_state_dict(through_a_file(before.state_dict()))
        assert other.engine == before.engine
        assert other.incident == before.incident
        assert other.counters == before.counters
        assert (other.by_signal, other.cured_by) == (before.by_signal, before.cured_by)
        self.ledger = other

    @invariant()
    def the_account_agrees(self) -> None:
        ledger = self.ledger
        assert ledger.counters.update == self.updates
        assert ledger.engine.clock == self.ticks
        assert ledger.last_update == (self.updates - 1 if self.updates else None)
        assert ledger.lr_scale == ledger.engine.lr_scale
        incident = ledger.engine.incident
        assert (ledger.incident is None) == (incident is None)
        if incident is not None:
            assert ledger.incident is incident.record
            assert incident.record is not None
            assert incident.record.id == incident.id == ledger.engine.incidents
            assert incident.record.decisions[-1].rung == incident.rung
        assert sum(ledger.by_signal.values()) == ledger.engine.incidents


TestAnySequence: Callable[..., Any] = AnySequence.TestCase
TestAnySequence.settings = settings(max_examples=20, stateful_step_count=30)  # type: ignore[attr-defined]
