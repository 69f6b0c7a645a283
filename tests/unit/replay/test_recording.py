"""What a log holds for the engine, event by event."""

from __future__ import annotations

from typing import Any

from supervisor.events import Event, schema
from supervisor.records import ActionName, CauseKind, Decision, SignalName
from supervisor.replay.recording import RecordedDecision, RecordedUpdate, read_recording

STARTED = schema.RunStartedEvent(rank=0)
SKIP = Decision(1, 0, ActionName.SKIP_BATCH, 1, "because")
RELOAD = Decision(1, 2, ActionName.RELOAD_CHECKPOINT, 1, "because")


def step(number: int, **fields: Any) -> Event:
    numbers = {"loss": 1.0, "grad_norm": 1.0, "lr": 0.1, "lr_scale": 1.0, "step_seconds": 0.1}
    return schema.StepEvent(rank=0, step=number, update=number, **numbers, **fields)


def signal(update: int, name: SignalName = SignalName.NONFINITE_LOSS, step: int | None = None) -> Event:
    return schema.SignalEvent(rank=0, step=update if step is None else step, update=update, signal=name)


def decided(update: int, decision: Decision, **fields: Any) -> Event:
    return schema.DecisionEvent(
        rank=0,
        step=update,
        update=update,
        incident=decision.incident,
        rung=decision.rung,
        action=decision.action,
        attempt=decision.attempt,
        reason=decision.reason,
        **fields,
    )


def applied(update: int, decision: Decision, **fields: Any) -> Event:
    at = {"rank": 0, "step": update, "update": update}
    return schema.ActionAppliedEvent(**at, incident=decision.incident, action=decision.action, seconds=0.1, **fields)


def test_a_healthy_run_has_its_updates_and_nothing_found() -> None:
    run = read_recording([STARTED, step(0), step(7)])
    assert (run.updates, run.found, run.replayed, run.new_ladders) == (8, {}, set(), set())


def test_a_flagged_update_has_its_findings_its_cause_and_what_was_decided() -> None:
    at = {"rank": 0, "step": 4, "update": 5}
    diagnosis = schema.DiagnosisEvent(**at, incident=1, kind=CauseKind.BAD_INPUT, explanation="x", seconds=0.1)
    run = read_recording(
        [
            STARTED,
            signal(5, step=4),
            signal(5, SignalName.NONFINITE_GRADIENT, step=4),
            diagnosis,
            decided(5, SKIP, blocked={2: "no good state"}, can_retry=True),
            applied(5, SKIP),
        ]
    )
    assert run.found == {
        5: RecordedUpdate(
            update=5,
            step=4,
            signals=(SignalName.NONFINITE_LOSS, SignalName.NONFINITE_GRADIENT),
            decisions=(RecordedDecision(SKIP, {2: "no good state"}, can_retry=True),),
            cause=CauseKind.BAD_INPUT,
        )
    }


def test_an_action_that_failed_has_its_error_and_the_next_decision_beside_it() -> None:
    at = {"rank": 0, "step": 5, "update": 5}
    failed = schema.ActionFailedEvent(**at, incident=1, action=RELOAD.action, error="torn")
    run = read_recording([STARTED, signal(5), decided(5, RELOAD), failed, decided(5, SKIP), applied(5, SKIP)])
    assert [(each.decision, each.error) for each in run.found[5].decisions] == [(RELOAD, "torn"), (SKIP, None)]


class TestBatchesThatComeAgain:
    def test_a_reload_says_where_it_went_and_which_updates_repeat_batches(self) -> None:
        run = read_recording(
            [STARTED, signal(9), decided(9, RELOAD), applied(9, RELOAD, restored_step=6, replayed_batches=3), step(13)]
        )
        assert run.found[9].restored_step == 6
        assert run.replayed == {10, 11, 12}

    def test_accumulated_batches_make_fewer_updates(self) -> None:
        started = schema.RunStartedEvent(rank=0, accumulate=2)
        run = read_recording(
            [started, signal(9), decided(9, RELOAD), applied(9, RELOAD, restored_step=6, replayed_batches=6)]
        )
        assert run.replayed == {10, 11, 12}

    def test_a_second_reload_amid_them_counts_from_itself(self) -> None:
        run = read_recording(
            [
                STARTED,
                signal(9),
                applied(9, RELOAD, restored_step=4, replayed_batches=5),
                signal(11),
                applied(11, RELOAD, restored_step=4, replayed_batches=2),
            ]
        )
        assert run.replayed == {10, 11, 12, 13}


def test_a_resume_under_another_policy_begins_a_new_ladder_and_any_other_does_not() -> None:
    def resumed(update: int, *, anew: bool) -> Event:
        return schema.RunResumedEvent(
            rank=0, step=update, update=update, checkpoint_step=update, ladder_begins_anew=anew
        )

    run = read_recording([STARTED, step(20), resumed(10, anew=False), step(30), resumed(25, anew=True), step(40)])
    assert run.new_ladders == {25}
    assert run.without_cuts == set()
    assert run.updates == 41


def test_a_resume_after_a_halt_that_was_mended_drops_the_cuts_too() -> None:
    event = schema.RunResumedEvent(
        rank=0, step=9, update=9, checkpoint_step=9, ladder_begins_anew=True, after_halt=True
    )
    run = read_recording([event])
    assert (run.new_ladders, run.without_cuts) == ({9}, {9})


def test_other_ranks_and_the_parent_are_not_read() -> None:
    other = signal(5).model_copy(update={"rank": 1})
    parent = signal(6).model_copy(update={"rank": None})
    assert read_recording([STARTED, other, parent, step(7)]).found == {}


def test_what_a_scaler_answered_was_neither_decided_on_nor_only_observed() -> None:
    def update(*signals: SignalName, decisions: tuple[RecordedDecision, ...] = ()) -> RecordedUpdate:
        return RecordedUpdate(5, 5, signals, decisions)

    assert update(SignalName.NONFINITE_GRADIENT).answered_by_scaler
    assert update(SignalName.NONFINITE_GRADIENT, SignalName.SANITIZED_VALUES).answered_by_scaler
    assert not update(SignalName.SANITIZED_VALUES).answered_by_scaler
    assert not update(SignalName.LOSS_SPIKE).answered_by_scaler
    assert not update(SignalName.NONFINITE_GRADIENT, decisions=(RecordedDecision(SKIP, {}),)).answered_by_scaler
