"""A recording decided again, update by update, and from a run directory; the runs here are written by hand."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from supervisor.errors import InputError
from supervisor.events import schema
from supervisor.events.writer import EventLog
from supervisor.policy import RecoveryPolicy, load_policy
from supervisor.records import ActionName, Decision, Observation, SignalName
from supervisor.replay.recording import RecordedDecision, RecordedRun, RecordedUpdate
from supervisor.replay.replay import Replayed, replay, replay_run
from supervisor.testing.clock import FakeClock

LOSS = SignalName.NONFINITE_LOSS
SKIP, LOWER, RELOAD, HALT = (
    ActionName.SKIP_BATCH,
    ActionName.LOWER_LR,
    ActionName.RELOAD_CHECKPOINT,
    ActionName.HALT,
)


def policy_of(*ladder: dict[str, Any], **rest: Any) -> RecoveryPolicy:
    return load_policy({"ladder": [*ladder, {"action": "halt"}], "reactions": {}, "cooldown_steps": 3, **rest})


TWO_SKIPS = policy_of({"action": "skip_batch", "attempts": 2})


def recorded(*flagged: int, updates: int = 30, **fields: Any) -> RecordedRun:
    """A run with these flagged updates; nothing is on record of what was decided about them, unless it is given."""
    return RecordedRun(updates, {n: RecordedUpdate(n, n, (LOSS,), **fields) for n in flagged})


def actions(replayed: Replayed) -> dict[int, list[ActionName]]:
    return {each.update: [decision.action for decision in each.replayed] for each in replayed.comparisons}


def decided(update: int, policy: RecoveryPolicy = TWO_SKIPS, **fields: Any) -> RecordedUpdate:
    """An update with the decision that the policy takes on it."""
    (comparison,) = replay(with_decisions(recorded(update)), policy, policy).comparisons
    return RecordedUpdate(update, update, (LOSS,), (RecordedDecision(comparison.replayed[0], {}, **fields),))


def with_decisions(run: RecordedRun) -> RecordedRun:
    """The run, so that nothing in it reads as a scaler's answer."""
    some = RecordedDecision(Decision(1, 0, SKIP, 1, "recorded"), {})
    found = {n: replace(each, decisions=each.decisions or (some,)) for n, each in run.found.items()}
    return replace(run, found=found)


def test_a_run_decided_as_it_was_parts_nowhere() -> None:
    run = RecordedRun(30, {5: decided(5)})
    again = replay(run, TWO_SKIPS, TWO_SKIPS)
    assert again.parting is None
    assert (again.updates, again.halted_at, again.lr_scale) == (30, None, 1.0)
    assert again.cured == {SKIP: 1}


def test_the_ladder_is_climbed_and_its_end_ends_the_replay() -> None:
    again = replay(with_decisions(recorded(5, 6, 7, 20)), TWO_SKIPS, TWO_SKIPS)
    assert actions(again) == {5: [SKIP], 6: [SKIP], 7: [HALT], 20: []}
    assert again.halted_at == 7
    assert again.parting is not None
    assert again.cured == {}


def test_a_new_ladder_goes_on_after_a_halt() -> None:
    run = replace(with_decisions(recorded(5, 6, 7, 20)), new_ladders={15})
    again = replay(run, TWO_SKIPS, TWO_SKIPS)
    assert actions(again)[20] == [SKIP]
    assert again.halted_at is None


def test_a_cut_counts_at_the_end_unless_it_ran_out() -> None:
    policy = policy_of({"action": "lower_lr", "factor": 0.25, "restore_after_steps": 10})
    assert replay(with_decisions(recorded(25)), policy, policy).lr_scale == 0.25
    assert replay(with_decisions(recorded(5)), policy, policy).lr_scale == 1.0


def test_a_cut_ends_with_a_halt_that_was_mended() -> None:
    policy = policy_of({"action": "lower_lr", "factor": 0.25, "restore_after_steps": 1000})
    run = with_decisions(recorded(5))
    assert replay(replace(run, new_ladders={15}), policy, policy).lr_scale == 0.25
    assert replay(replace(run, new_ladders={15}, without_cuts={15}), policy, policy).lr_scale == 1.0


def test_batches_that_come_again_are_no_healthy_steps() -> None:
    run = with_decisions(recorded(5, 9))
    assert actions(replay(run, TWO_SKIPS, TWO_SKIPS)) == {5: [SKIP], 9: [SKIP]}
    assert replay(run, TWO_SKIPS, TWO_SKIPS).comparisons[1].replayed[0].incident == 2
    again = replay(replace(run, replayed={6, 7, 8}), TWO_SKIPS, TWO_SKIPS)
    assert again.comparisons[1].replayed[0].incident == 1


def test_what_a_scaler_answered_is_not_decided_on() -> None:
    assert replay(recorded(5), TWO_SKIPS, TWO_SKIPS).comparisons == ()


RELOADING = policy_of({"action": "reload_checkpoint"}, {"action": "skip_batch"})


class TestWhatCouldNotActThen:
    def run(self, **fields: Any) -> RecordedRun:
        decision = RecordedDecision(Decision(1, 0, RELOAD, 1, "x"), **{"blocked": {}, **fields})
        return recorded(5, decisions=(decision,))

    def test_is_passed_over_now(self) -> None:
        again = replay(self.run(blocked={0: "there is no good state"}), RELOADING, RELOADING)
        (decision,) = again.comparisons[0].replayed
        assert decision.action is SKIP
        assert "there is no good state" in decision.reason

    def test_is_found_where_it_stands_in_the_other_ladder(self) -> None:
        other = policy_of({"action": "skip_batch", "attempts": 1}, {"action": "reload_checkpoint"})
        run = self.run(blocked={0: "there is no good state"})
        run = replace(run, found={n: replace(run.found[5], update=n, step=n) for n in (5, 6)})
        assert actions(replay(run, RELOADING, other)) == {5: [SKIP], 6: [HALT]}

    def test_an_action_that_failed_then_fails_now(self) -> None:
        again = replay(self.run(error="torn"), RELOADING, RELOADING)
        assert actions(again) == {5: [RELOAD, SKIP]}
        assert "reload_checkpoint failed (torn)" in again.comparisons[0].replayed[1].reason


@pytest.mark.parametrize(("restored", "expected"), [(2, 2), (None, 4)], ids=["recorded", "estimated"])
def test_where_a_reload_went_is_taken_from_the_record_or_estimated(restored: int | None, expected: int) -> None:
    policy = policy_of(
        {"action": "reload_checkpoint", "limit": {"uses": 1, "window_updates": 2}},
        probation_steps=1,
        snapshot={"every_steps": 2},
    )
    again = replay(with_decisions(recorded(5, 15, restored_step=restored)), policy, policy)
    assert actions(again) == {5: [RELOAD], 15: [HALT]}
    assert f"it went back 1 time, no further than step {expected}" in again.comparisons[1].replayed[0].reason


OBSERVED = {n: Observation(n, n, 1.0 if n != 12 else math.nan, 1.0) for n in range(30)}


class TestWithObservations:
    def test_the_policys_own_detectors_find_what_there_is(self) -> None:
        again = replay(RecordedRun(30), TWO_SKIPS, TWO_SKIPS, OBSERVED)
        (comparison,) = again.comparisons
        assert (comparison.update, comparison.step, comparison.recorded_signals) == (12, None, ())
        assert comparison.replayed_signals == (LOSS,)
        assert not comparison.same

    def test_what_they_do_not_find_was_flagged_then_alone(self) -> None:
        healthy = {n: replace(each, loss=1.0) for n, each in OBSERVED.items()}
        (comparison,) = replay(with_decisions(recorded(12)), TWO_SKIPS, TWO_SKIPS, healthy).comparisons
        assert (comparison.recorded_signals, comparison.replayed_signals) == ((LOSS,), ())
        assert comparison.replayed == ()

    def test_windows_are_fed_with_healthy_updates_and_emptied_by_a_redrawn_model(self) -> None:
        def spiking(policy: RecoveryPolicy) -> set[int]:
            losses = {n: 100.0 if n in (40, 55) else math.nan if n == 50 else 1.0 for n in range(80)}
            seen = {n: Observation(n, n, loss, 1.0) for n, loss in losses.items()}
            again = replay(RecordedRun(80), policy, policy, seen)
            return {each.update for each in again.comparisons if SignalName.LOSS_SPIKE in each.replayed_signals}

        skipping = policy_of({"action": "skip_batch", "attempts": 9})
        redrawing = policy_of(
            {"action": "skip_batch", "attempts": 9},
            {"action": "reinitialize", "attempts": 9},
            reactions={"nonfinite_loss": "reinitialize"},
        )
        assert spiking(skipping) == {40, 55}
        assert spiking(redrawing) == {40}


POLICY: dict[str, Any] = {"ladder": [{"action": "skip_batch", "attempts": 3}, {"action": "halt"}], "reactions": {}}


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    """A run of 20 updates with one that was skipped."""
    log = EventLog(tmp_path / "run" / "events" / "rank0.jsonl", "r", 0, FakeClock())
    at = {"step": 5, "update": 5}
    reason = "nonfinite_loss opens incident 1; attempt 1 of 3"
    for event in (
        schema.RunStartedEvent(),
        schema.SignalEvent(**at, signal=SignalName.NONFINITE_LOSS),
        schema.DecisionEvent(**at, incident=1, rung=0, action=ActionName.SKIP_BATCH, attempt=1, reason=reason),
        schema.WarningEvent(step=19, update=19, message="slow step"),
    ):
        log.emit(event)
    log.close()
    (tmp_path / "run" / "policy.yaml").write_text(yaml.safe_dump(POLICY), encoding="utf-8")
    return tmp_path / "run"


def other(run_dir: Path, **changes: Any) -> str:
    path = run_dir.parent / "other.yaml"
    path.write_text(yaml.safe_dump({**POLICY, **changes}), encoding="utf-8")
    return str(path)


def test_the_same_policy_decides_the_same(run_dir: Path) -> None:
    replayed = replay_run(str(run_dir), other(run_dir))
    assert replayed.updates == 20
    assert [each.same for each in replayed.comparisons] == [True]


def test_another_ladder_decides_something_else(run_dir: Path) -> None:
    replayed = replay_run(str(run_dir), other(run_dir, ladder=[{"action": "halt"}]))
    assert (replayed.halted_at, replayed.parting) == (5, replayed.comparisons[0])


def test_how_often_the_state_is_checked_is_no_other_detection(run_dir: Path) -> None:
    assert replay_run(str(run_dir), other(run_dir, detect={"state_every_steps": 3})).parting is None


def test_another_detection_needs_the_observations(run_dir: Path) -> None:
    path = other(run_dir, detect={"spike": None})
    with pytest.raises(InputError, match=r"other\.yaml: detect: differs .* `observations: true`"):
        replay_run(str(run_dir), path)


def test_a_run_without_its_policy_cannot_be_decided_again(run_dir: Path) -> None:
    (run_dir / "policy.yaml").unlink()
    with pytest.raises(InputError, match=r"policy\.yaml: missing"):
        replay_run(str(run_dir), other(run_dir))
