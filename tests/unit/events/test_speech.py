"""What a guard says on stderr, from the events of a run."""

from __future__ import annotations

from typing import Any

import pytest

from supervisor.events import schema
from supervisor.events.speech import LONGEST, MOST_LINES, Speaker
from supervisor.records import ActionName, CauseKind, SignalName

SKIP, LOWER, RELOAD = ActionName.SKIP_BATCH, ActionName.LOWER_LR, ActionName.RELOAD_CHECKPOINT
REINITIALIZE, HALT = ActionName.REINITIALIZE, ActionName.HALT
LOSS, PARAMETER = SignalName.NONFINITE_LOSS, SignalName.NONFINITE_PARAMETER


def said(*events: Any) -> list[str]:
    lines: list[str] = []
    speaker = Speaker(lines.append)
    for event in events:
        speaker(event)
    return lines


def signal(step: int, name: SignalName = LOSS, **details: Any) -> schema.SignalEvent:
    return schema.SignalEvent.model_validate({"step": step, "update": step, "signal": name, **details})


def opened(step: int, *names: SignalName, incident: int = 2) -> schema.IncidentOpenedEvent:
    return schema.IncidentOpenedEvent(step=step, update=step, incident=incident, signals=names or (LOSS,))


def applied(step: int, action: ActionName = SKIP, *, incident: int = 2, **effect: Any) -> schema.ActionAppliedEvent:
    return schema.ActionAppliedEvent(step=step, update=step, incident=incident, action=action, seconds=0.01, **effect)


def cause(explanation: str) -> schema.DiagnosisEvent:
    return schema.DiagnosisEvent(incident=2, kind=CauseKind.BAD_INPUT, explanation=explanation)


def summary(incidents: int) -> schema.RunSummary:
    return schema.RunSummary(status=schema.RunStatus.FINISHED, steps=900, applied_steps=9, incidents=incidents)


def finished(incidents: int) -> schema.RunFinishedEvent:
    return schema.RunFinishedEvent(step=900, status=schema.RunStatus.FINISHED, summary=summary(incidents))


@pytest.mark.parametrize(
    ("details", "action", "line"),
    [
        ({"tensors": ("0.weight",)}, applied(45, RELOAD, restored_step=30), "(0.weight); went back to step 30"),
        ({"tensors": tuple("abcde")}, applied(45), "(a, b, c and 2 more); skipped the batch"),
        ({"loss": 12.34567}, applied(45, LOWER, lr_scale=0.25), "(loss 12.35); the learning rate is now 0.25 of its"),
        ({"exception": "x" * 999}, applied(45), "x…); skipped the batch"),
        ({}, applied(45, REINITIALIZE, restored_step=30, modules=("gru",)), "; redrew gru, went back to step 30"),
    ],
)
def test_an_incident_is_one_line_with_what_was_found_and_what_was_done(
    details: dict[str, Any], action: Any, line: str
) -> None:
    (spoken,) = said(signal(45, PARAMETER, **details), signal(45, LOSS), opened(45, PARAMETER), action)
    assert spoken.startswith("step 45: incident 2: nonfinite_parameter")
    assert line in spoken
    assert len(spoken) < 2 * LONGEST


def test_the_cause_stands_in_the_place_of_the_numbers() -> None:
    (spoken,) = said(signal(4, loss=1.5), opened(4), cause("sample 3 of the batch: not finite"), applied(4))
    assert spoken == "step 4: incident 2: nonfinite_loss: sample 3 of the batch: not finite; skipped the batch"


def test_a_finding_that_is_merely_observed_is_not_what_opened_it() -> None:
    observed = signal(4, SignalName.SANITIZED_VALUES, count=2)
    (spoken,) = said(observed, signal(4, loss=1.5), opened(4), applied(4))
    assert spoken == "step 4: incident 2: nonfinite_loss (loss 1.5); skipped the batch"
    assert said(observed, signal(5, SignalName.SANITIZED_VALUES, count=2)) == []


def test_within_an_incident_everything_but_another_skip_is_said() -> None:
    lines = said(
        *(signal(4), opened(4), applied(4)),
        *(signal(5), applied(5)),
        *(signal(6), applied(6, LOWER, lr_scale=0.5)),
        *(signal(7), applied(7, RELOAD, restored_step=3)),
    )
    assert [line.partition(":")[0] for line in lines] == ["step 4", "step 6", "step 7"]


def test_an_action_that_failed_is_in_the_line_of_the_one_that_did_not() -> None:
    failed = schema.ActionFailedEvent(step=4, update=4, incident=2, action=RELOAD, error="all checkpoints are torn")
    (spoken,) = said(signal(4), opened(4), failed, applied(4, LOWER, lr_scale=0.5))
    assert "; reload_checkpoint failed (all checkpoints are torn); the learning rate is now 0.5" in spoken


def test_a_halt_is_one_line_with_its_reason() -> None:
    halted = schema.RunHaltedEvent(step=9, update=9, reason="nothing is left")
    (spoken,) = said(signal(9), opened(9), applied(9, HALT, restored_step=5), halted)
    assert spoken == "step 9: incident 2: nonfinite_loss; halted: nothing is left; went back to step 5"
    assert said(signal(9), opened(9), applied(9, HALT), halted)[0].endswith("; halted: nothing is left")
    assert said(halted) == ["step 9: halted: nothing is left"]


def test_a_warning_is_said_unless_it_needs_no_line_of_its_own() -> None:
    warning = schema.WarningEvent(step=3, update=3, message="the disk is full")
    assert said(warning, warning.model_copy(update={"spoken": False})) == ["step 3: warning: the disk is full"]


def test_what_a_healthy_run_puts_on_record_is_not_said() -> None:
    step = schema.StepEvent(step=1, update=1, loss=1, grad_norm=1, lr=1, lr_scale=1, step_seconds=1)
    saved = schema.CheckpointSavedEvent(checkpoint_step=1, path="checkpoints/step-1")
    assert said(schema.RunStartedEvent(steps=9), step, saved, finished(0)) == []


def test_of_many_lines_those_are_said_at_which_their_number_has_doubled() -> None:
    many = [event for n in range(1000) for event in (signal(n), opened(n, incident=n + 1), applied(n, incident=n + 1))]
    lines = said(*many, finished(1000))
    places = [int(line.split(" ")[1].rstrip(":")) + 1 for line in lines[:-1]]
    assert places == [*range(1, MOST_LINES + 1), 40, 80, 160, 320, 640]
    assert lines[MOST_LINES - 1].endswith("skipped the batch (20 such lines so far: the next one is said at 40)")
    assert lines[-2].endswith("(640 such lines so far: the next one is said at 1280)")
    assert lines[-1] == "finished after 900 steps with 1000 incidents"


def test_the_traceback_of_the_users_code_follows_its_warning() -> None:
    warning = schema.WarningEvent(step=3, update=3, message="evaluation failed", traceback="Traceback\nValueError\n")
    assert said(warning) == ["step 3: warning: evaluation failed\nTraceback\nValueError"]


def test_many_warnings_hold_no_incident_back() -> None:
    warnings = [schema.WarningEvent(message="again")] * 100
    lines = said(*warnings, signal(1), opened(1), applied(1), finished(1))
    assert len(lines) == MOST_LINES + 2 + 1
    assert lines[-1].startswith("step 1: incident 2")


def test_a_halt_is_said_after_many_lines_too() -> None:
    many = [event for n in range(30) for event in (signal(n), opened(n), applied(n))]
    halted = schema.RunHaltedEvent(step=30, update=30, reason="nothing is left")
    assert "halted: nothing is left" in said(*many, signal(30), applied(30, HALT), halted)[-1]


def test_other_settings_of_a_resumed_run_are_said() -> None:
    event = schema.SettingsChangedEvent(changes=("policy.cooldown_steps (20, now 3)",))
    assert said(event) == ["resumed with other settings: policy.cooldown_steps (20, now 3)"]


def test_a_cure_that_comes_into_force_is_said() -> None:
    chosen = schema.CureChosenEvent(step=30, update=40, incident=1, cure="lr 0.01", score=0.5, keep_score=9.0)
    assert said(chosen) == ["step 30: cure in force: lr 0.01 (loss 0.5 on a fork, 9 without)"]


def test_a_reason_that_begins_with_what_was_found_says_it_once() -> None:
    halted = schema.RunHaltedEvent(step=9, update=9, reason="nonfinite_loss: all targets are ignored; try_cures failed")
    failed = schema.ActionFailedEvent(step=9, update=9, incident=2, action=ActionName.TRY_CURES, error="none helps")
    assert said(signal(9), opened(9), failed, applied(9, HALT, restored_step=5), halted) == [
        "step 9: incident 2: halted: nonfinite_loss: all targets are ignored; try_cures failed; went back to step 5"
    ]
