"""What a person is told of each event: one line for each recovery."""

from __future__ import annotations

import math
from datetime import UTC, datetime

import pytest

from supervisor.events import schema
from supervisor.events.narration import Narrator, Tone, describe_event, describe_outcome, describe_signal, describe_step
from supervisor.events.schema import Event
from supervisor.records import ActionName, SignalName

AT = {"step": 120, "update": 124}
LOSS = schema.SignalEvent.model_validate({**AT, "signal": SignalName.NONFINITE_LOSS, "loss": float("nan")})
OPENED = schema.IncidentOpenedEvent(**AT, incident=1)
SKIP = schema.DecisionEvent(**AT, incident=1, rung=0, action=ActionName.SKIP_BATCH, attempt=1, reason="the lowest rung")
SKIPPED = schema.ActionAppliedEvent(**AT, incident=1, action=ActionName.SKIP_BATCH, seconds=0.001)


def lines(*events: Event) -> list[str]:
    narrator = Narrator()
    return [line.text for event in events for line in narrator.tell(event)] + [line.text for line in narrator.rest()]


def test_a_recovery_is_one_line_from_signal_to_action():
    expected = "step 120 (update 124): nonfinite_loss (loss nan) -> skip_batch (rung 0): the lowest rung"
    assert lines(LOSS, OPENED, SKIP, SKIPPED) == [expected]
    assert lines(OPENED, LOSS, SKIP, SKIPPED) == [expected]


def test_a_recovery_says_what_it_did():
    decision = SKIP.model_copy(update={"action": ActionName.RELOAD_CHECKPOINT, "rung": 2})
    applied = schema.ActionAppliedEvent(
        **AT,
        incident=1,
        action=ActionName.RELOAD_CHECKPOINT,
        seconds=0.02,
        restored_step=100,
        restored_from="memory",
        modules=("gru", "head", "a", "b", "c"),
        lr_scale=0.5,
    )

    assert lines(LOSS, decision, applied)[0].endswith(
        "; back to step 100 from memory, learning-rate scale 0.5, redrew gru, head, a and 2 more (0.02 s)"
    )


def test_an_action_that_failed_and_the_next_one_are_two_lines_with_the_same_signal():
    failed = schema.ActionFailedEvent(**AT, incident=1, action=ActionName.SKIP_BATCH, error="no state")

    said = lines(LOSS, SKIP, failed, SKIP.model_copy(update={"rung": 1, "reason": "the next"}), SKIPPED)

    assert said == [
        "step 120 (update 124): nonfinite_loss (loss nan) -> skip_batch (rung 0): the lowest rung; failed: no state",
        "step 120 (update 124): nonfinite_loss (loss nan) -> skip_batch (rung 1): the next",
    ]


def test_the_signals_of_one_update_share_a_line_and_those_of_the_next_do_not():
    gradient = schema.SignalEvent(**AT, signal=SignalName.NONFINITE_GRADIENT)
    later = LOSS.model_copy(update={"step": 121, "update": 125})
    skip_later = SKIP.model_copy(update={"step": 121, "update": 125})
    skipped_later = SKIPPED.model_copy(update={"step": 121, "update": 125})

    said = lines(LOSS, gradient, SKIP, SKIPPED, later, skip_later, skipped_later)

    assert "nonfinite_loss (loss nan) + nonfinite_gradient -> skip_batch" in said[0]
    assert "update 125): nonfinite_loss (loss nan) -> skip_batch" in said[1]
    assert len(said) == 2


def test_a_decision_whose_action_never_ended_is_still_said():
    assert lines(LOSS, SKIP) == lines(LOSS, SKIP, SKIPPED)


def test_of_observed_signals_the_first_is_said():
    observed = [
        schema.SignalEvent.model_validate({"step": n, "update": n, "signal": SignalName.SANITIZED_VALUES, "count": n})
        for n in range(5)
    ]

    assert lines(*observed) == [
        "step 0 (update 0): sanitized_values (count 0): observed, more of these only in the log"
    ]


def test_a_halt_is_said_with_its_reason():
    halt = SKIP.model_copy(update={"action": ActionName.HALT, "rung": 4, "reason": "nothing else is left"})

    said = lines(LOSS, halt, schema.RunHaltedEvent(**AT, reason="nothing else is left"))

    assert said == [
        "step 120 (update 124): nonfinite_loss (loss nan) -> halt (rung 4): nothing else is left",
        "step 120 (update 124): halted: nothing else is left",
    ]


SUMMARY = schema.RunSummary(status=schema.RunStatus.FINISHED, steps=9, applied_steps=8, incidents=1)


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (
            schema.IncidentClosedEvent(step=141, incident=1, cured_by=ActionName.SKIP_BATCH, steps_lost=1, seconds=0.8),
            "step 141: incident 1 closed, cured by skip_batch: 1 step lost, 0.8 s",
        ),
        (
            schema.CheckpointRejectedEvent(checkpoint_step=5, path="checkpoints/step-5", reason="torn"),
            "checkpoint checkpoints/step-5 rejected: torn",
        ),
        (schema.WarningEvent(message="the disk is slow"), "warning: the disk is slow"),
        (
            schema.SettingsChangedEvent(changes=("a (1, now 2)", "b (1, now 2)", "c (1, now 2)", "d (1, now 2)")),
            "resumed with other settings: a (1, now 2), b (1, now 2), c (1, now 2) and 1 more",
        ),
        (
            schema.WorkerExitedEvent(
                pid=7, exit_code=None, signal="SIGKILL", classification=schema.ExitClassification.KILLED
            ),
            "worker 7 is gone: killed (SIGKILL)",
        ),
        (schema.MetricsEvent(step=50, update=49, metrics={"mrr": 0.25}), "evaluated after 50 steps: mrr 0.25"),
        (
            schema.MetricsEvent(step=50, metrics={f"m{index}": float(index) for index in range(9)}),
            "evaluated after 50 steps: m0 0, m1 1, m2 2, m3 3 and 5 more",
        ),
        (
            schema.BestCheckpointEvent(step=50, checkpoint_step=50, path="checkpoints/x", metric="mrr", value=0.25),
            "best so far: mrr 0.25 after 50 steps, kept in checkpoints/x",
        ),
        (schema.WorkerStalledEvent(pid=7, seconds=300), "worker 7 has stood still for 300 s"),
        (
            schema.WorkerStalledEvent(pid=7, seconds=300, limit="restart.stall_timeout_seconds"),
            "worker 7 has stood still for 300 s, longer than restart.stall_timeout_seconds allows",
        ),
        (schema.LrRestoredEvent(step=3, lr_scale=1.0), "step 3: learning-rate cut taken back, scale now 1"),
        (schema.BufferExemptEvent(buffers=("mask",)), "non-finite from the start, so exempt: mask"),
        (schema.RunResumedEvent(checkpoint_step=200), "resumed from the checkpoint of step 200"),
        (
            schema.RunFinishedEvent(status=schema.RunStatus.FINISHED, summary=SUMMARY),
            "finished after 9 steps, 1 incident",
        ),
    ],
    ids=lambda value: getattr(value, "event", ""),
)
def test_other_events_that_a_person_should_see(event: Event, line: str):
    assert lines(event) == [line]


@pytest.mark.parametrize(
    "event",
    [
        schema.CheckpointSavedEvent(checkpoint_step=5, path="p"),
        schema.WorkerStartedEvent(pid=3),
        schema.WorkerExitedEvent(pid=3, exit_code=0, signal=None, classification=schema.ExitClassification.FINISHED),
    ],
    ids=lambda event: event.event,
)
def test_what_goes_as_it_should_is_not_said(event: Event):
    assert lines(event) == []


def test_a_warning_about_the_users_code_shows_its_traceback():
    story = "Traceback (most recent call last):\n  File ...\nValueError: no rows\n"
    warning = schema.WarningEvent(step=4, message="evaluation failed: ValueError: no rows", traceback=story)
    assert lines(warning) == ["step 4: warning: evaluation failed: ValueError: no rows", story.rstrip()]


def test_bad_news_look_bad():
    assert Narrator().tell(schema.RunHaltedEvent(reason="x"))[0].tone is Tone.BAD


def test_a_step_is_told_with_what_is_known_of_the_schedule():
    step = schema.StepEvent(step=140, update=144, loss=0.70312, grad_norm=1.5, lr=1e-3, lr_scale=0.5, step_seconds=0.04)
    numbers = "loss 0.7031, grad norm 1.5, lr 0.001 x 0.5, 0.04 s a step"

    assert describe_step(step, 2000) == f"141/2000 steps: {numbers}"
    assert describe_step(step, None) == f"141 steps: {numbers}"
    assert describe_step(step.model_copy(update={"incidents": 2, "rung": 1}), 2000).endswith(", 2 incidents, on rung 1")


def test_a_finding_is_told_with_its_numbers_and_the_first_of_many_names():
    names = ("a", "b", "c", "d", "e")
    found = schema.SignalEvent.model_validate(
        {**AT, "signal": SignalName.NONFINITE_GRADIENT, "norm": 1.23456, "bad": names}
    )

    assert describe_signal(found) == "nonfinite_gradient (norm 1.235, bad a, b, c and 2 more)"


def test_of_an_action_that_only_dropped_the_batch_there_is_nothing_to_say():
    assert describe_outcome(SKIPPED) == ""


NOON = datetime(2026, 1, 1, 12, 3, 41, 532_999, tzinfo=UTC)


def test_time_place_name_and_fields_in_columns():
    event = schema.DecisionEvent(
        time=NOON,
        run_id="r",
        rank=0,
        step=120,
        update=124,
        incident=1,
        rung=0,
        action=ActionName.SKIP_BATCH,
        attempt=1,
        reason="the lowest rung",
        blocked={2: "no state"},
    )

    assert describe_event(event) == (
        "12:03:41.532  step 120 (update 124)     decision              "
        "incident=1 rung=0 action=skip_batch attempt=1 reason='the lowest rung' blocked={2='no state'} "
        "can_retry=False retry=False in_place=False"
    )


def test_an_event_without_a_place_or_fields_is_short():
    assert describe_event(schema.OtherEvent(time=NOON, event="node_drained")).split() == [
        "12:03:41.532",
        "node_drained",
    ]


def test_numbers_are_short_and_lists_are_one_word():
    event = schema.MetricsEvent(time=NOON, metrics={"mrr": 0.123456789, "loss": math.nan}, seconds=math.inf)
    assert describe_event(event).endswith("metrics={mrr=0.123457 loss=nan} seconds=inf")
    exempt = schema.BufferExemptEvent(time=NOON, buffers=("a", "b"))
    assert describe_event(exempt).endswith("buffers=a,b")


def test_what_is_not_known_is_left_out():
    gone = schema.WorkerExitedEvent(time=NOON, pid=7, exit_code=9, signal=None, classification="exception")
    assert describe_event(gone).endswith("worker_exited         pid=7 exit_code=9 classification=exception")


def test_a_cure_that_was_chosen_is_told():
    event = schema.CureChosenEvent(**AT, incident=1, cure="clip 1.0", score=0.5, keep_score=math.inf)
    said = "step 120 (update 124): in force from now on: clip 1.0 (loss 0.5 on a fork, inf without)"
    assert lines(event) == [said]
