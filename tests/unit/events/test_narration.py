"""What a person is told of each event: one line for each recovery."""

from __future__ import annotations

import math
from datetime import UTC, datetime

import pytest

from supervisor.events import schema
from supervisor.events.narration import Narrator, Tone, describe_event, describe_outcome, describe_signal
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


def test_an_incident_is_one_line():
    expected = "step 120  nonfinite_loss  loss nan  → skipped"
    closed = schema.IncidentClosedEvent(step=141, incident=1, cured_by=ActionName.SKIP_BATCH, steps_lost=1, seconds=0.8)
    left_out = schema.QuarantinedEvent(**AT, incident=1, dataset_indices=(7,))
    assert lines(LOSS, OPENED, SKIP, SKIPPED, closed) == [expected]
    assert lines(LOSS, OPENED, left_out, SKIP, SKIPPED, closed) == [
        expected.replace("loss nan", "bad data: row 7 (left out)")
    ]


def test_a_decision_whose_action_never_ended_is_still_said():
    assert lines(LOSS, OPENED, SKIP) == ["step 120  nonfinite_loss  loss nan  → skip_batch …"]


def test_another_skip_in_the_same_incident_is_not_said():
    later = {"step": 121, "update": 125}
    again = [LOSS.model_copy(update=later), SKIP.model_copy(update=later), SKIPPED.model_copy(update=later)]
    assert len(lines(LOSS, OPENED, SKIP, SKIPPED, *again)) == 1


def test_of_observed_signals_the_first_is_said():
    observed = [
        schema.SignalEvent.model_validate({"step": n, "update": n, "signal": SignalName.SANITIZED_VALUES, "count": n})
        for n in range(5)
    ]

    assert lines(*observed) == ["step 0  sanitized_values (count 0)  observed: more of these only in the log"]


def test_a_halt_is_said_with_its_reason():
    halt = SKIP.model_copy(update={"action": ActionName.HALT, "rung": 4, "reason": "nothing else is left"})

    done = SKIPPED.model_copy(update={"action": ActionName.HALT, "restored_step": 100})

    said = lines(LOSS, OPENED, halt, done, schema.RunHaltedEvent(**AT, reason="nothing else is left"))

    assert said == ["step 120  halted: nothing else is left  → back to step 100"]


SUMMARY = schema.RunSummary(status=schema.RunStatus.FINISHED, steps=9, applied_steps=8, incidents=1)


@pytest.mark.parametrize(
    ("event", "line"),
    [
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
            "worker 7 died: killed (SIGKILL)",
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
        (schema.WorkerStalledEvent(pid=7, seconds=300), "worker 7 stalled: no sign of life for 300 s; it is ended"),
        (
            schema.WorkerStalledEvent(pid=7, seconds=300, limit="restart.x"),
            "worker 7 stalled: no sign of life for 300 s, longer than restart.x allows; it is ended",
        ),
        (schema.LrRestoredEvent(step=3, lr_scale=1.0), "step 3  cut of the learning rate taken back, now ×1"),
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
        schema.WarningEvent(message="of the line of an incident", spoken=False),
        schema.CheckpointRejectedEvent(checkpoint_step=5, path="p", reason="abandoned: the run went back to step 3"),
        schema.WorkerExitedEvent(pid=3, exit_code=0, signal=None, classification=schema.ExitClassification.FINISHED),
    ],
    ids=lambda event: event.event,
)
def test_what_goes_as_it_should_is_not_said(event: Event):
    assert lines(event) == []


def test_a_warning_about_the_users_code_shows_its_traceback():
    story = "Traceback (most recent call last):\n  File ...\nValueError: no rows\n"
    warning = schema.WarningEvent(step=4, message="evaluation failed: ValueError: no rows", traceback=story)
    assert lines(warning) == ["step 4  warning: evaluation failed: ValueError: no rows", *story.splitlines()]


def test_bad_news_look_bad():
    assert Narrator().tell(schema.RunHaltedEvent(reason="x"))[0].tone is Tone.BAD


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


DEATH = schema.WorkerExitedEvent(
    pid=7,
    exit_code=1,
    signal=None,
    classification=schema.ExitClassification.EXCEPTION,
    reason="Traceback (most recent call last):\n  File 'a.py', line 3\nValueError: no \x1b[2Jrow\n",
)


def test_of_a_dead_worker_the_last_line_of_its_traceback_is_said():
    assert lines(DEATH) == ["worker 7 died: exception (exit code 1): ValueError: no \\x1b[2Jrow"]
    (long,) = lines(DEATH.model_copy(update={"reason": "ValueError: " + "x" * 2_000_000}))
    assert len(long) == 100


def test_a_worker_that_is_started_again_is_said_and_the_first_is_not():
    first, second = schema.WorkerStartedEvent(pid=7), schema.WorkerStartedEvent(pid=8, restarts=1)
    done = schema.WorkerExitedEvent(pid=7, exit_code=0, signal=None, classification="finished")
    assert lines(first, DEATH, second)[1:] == ["worker 8 was started again (restart 1)"]
    assert lines(first, done, second) == []


def test_a_warning_without_end_is_cut_and_says_how_much():
    (said,) = lines(schema.WarningEvent(message="x" * 2_000_000))
    assert said.endswith("x… (1999509 characters more)")
    assert len(said) < 600


def test_no_field_of_an_event_reaches_the_terminal_as_it_is_or_without_end():
    hostile = "\x1b[2J\r\x00\u202e" + "y" * 2_000_000
    other = schema.OtherEvent.model_validate(
        {"event": "a\x1bb", "time": NOON, "na\x1bme": hostile, "more": {"\r": [hostile]}}
    )
    for event in (
        schema.WarningEvent(time=NOON, message=hostile),
        schema.CheckpointRejectedEvent(time=NOON, checkpoint_step=1, path=hostile, reason=hostile),
        schema.BufferExemptEvent(time=NOON, buffers=(hostile,) * 100),
        other,
    ):
        said = describe_event(event)
        assert said.isprintable()
        assert len(said) < 2000
        assert "characters more)" in said
