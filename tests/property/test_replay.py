"""A run decided again under its own policy comes out as it was, whatever happened in it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from support.engine_runs import FAULTS, Faults, Run, policies

from supervisor.events.schema import parse_event
from supervisor.policy import RecoveryPolicy, load_policy
from supervisor.records import ActionName, SignalName
from supervisor.replay import RecordedRun, read_recording, replay


def recorded(run: Run) -> RecordedRun:
    """The recording, through the lines that a log would hold."""
    lines = [event.model_copy(update={"run_id": "r"}).model_dump_json(by_alias=True) for event in run.events]
    return read_recording(parse_event(line) for line in lines)


@given(policies(), FAULTS, st.integers(1, 40))
def test_every_decision_comes_out_as_it_was(policy: RecoveryPolicy, faults: Faults, steps: int) -> None:
    run = Run(policy, faults, steps).finish()
    again = replay(recorded(run), policy, policy)
    assert [decision for each in again.comparisons for decision in each.replayed] == run.decisions
    assert again.parting is None
    assert again.lr_scale == run.state.lr_scale
    assert (again.halted_at is not None) == run.halted


def test_a_skip_amid_batches_that_come_again_does_not_end_them() -> None:
    ladder = [
        {"action": "reload_checkpoint", "data": "replay", "attempts": 1, "limit": {"uses": 9, "window_updates": 40}},
        {"action": "skip_batch", "attempts": 9},
    ]
    policy = load_policy(
        {
            "ladder": ladder,
            "cooldown_steps": 3,
            "snapshot": {"every_steps": 6},
        }
    )
    once: list[tuple[SignalName, ...]] = [()] * 60
    once[14] = once[16] = once[22] = (SignalName.NONFINITE_LOSS,)
    run = Run(policy, Faults(tuple(once), (), (), frozenset()), 30).finish()
    recording = recorded(run)
    assert max(recording.replayed) > 16
    assert replay(recording, policy, policy).parting is None


@given(policies(), policies(), FAULTS, st.integers(1, 40))
def test_another_policy_decides_every_update_it_flags_and_ends_at_its_halt(
    policy: RecoveryPolicy, other: RecoveryPolicy, faults: Faults, steps: int
) -> None:
    run = Run(policy, faults, steps).finish()
    recording = recorded(run)
    again = replay(recording, policy, other)
    flagged = {u for u, found in recording.found.items() if any(not other.observes(s) for s in found.signals)}
    flagged -= {u for u in flagged if recording.found[u].answered_by_scaler}
    if again.halted_at is not None:
        flagged = {update for update in flagged if update <= again.halted_at}
    assert {each.update for each in again.comparisons if each.replayed} == flagged
    halts = [each.update for each in again.comparisons if each.replayed and each.replayed[-1].action is ActionName.HALT]
    assert halts == ([] if again.halted_at is None else [again.halted_at])
