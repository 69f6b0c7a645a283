"""What a guard says on stderr, from the events of a run."""

from __future__ import annotations

from typing import Any

from supervisor.events import schema
from supervisor.events.speech import MOST_LINES, Speaker
from supervisor.records import ActionName, CauseKind, SignalName

SKIP, RELOAD, HALT = ActionName.SKIP_BATCH, ActionName.RELOAD_CHECKPOINT, ActionName.HALT
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


def test_an_incident_is_one_line_that_fits() -> None:
    long = cause("a sentence of many words " * 20)
    (spoken,) = said(signal(45, PARAMETER), opened(45, PARAMETER), long, applied(45, RELOAD, restored_step=30))
    assert spoken.startswith("step 45  nonfinite_parameter  a sentence of many words")
    assert spoken.endswith("…  → back to step 30")
    assert len(f"supervisor: {spoken}") == 100


def test_a_finding_that_is_merely_observed_is_not_what_opened_it() -> None:
    observed = signal(4, SignalName.SANITIZED_VALUES, count=2)
    (spoken,) = said(observed, signal(4, loss=1.5), opened(4), applied(4))
    assert spoken == "step 4  nonfinite_loss  loss 1.5  → skipped"
    assert said(observed, signal(5, SignalName.SANITIZED_VALUES, count=2)) == []


def test_a_halt_is_one_line_with_its_reason() -> None:
    halted = schema.RunHaltedEvent(step=9, update=9, reason="nothing is left")
    (spoken,) = said(signal(9), opened(9), applied(9, HALT, restored_step=5), halted)
    assert spoken == "step 9  halted: nothing is left  → back to step 5"


def test_a_warning_is_said_unless_it_needs_no_line_of_its_own() -> None:
    warning = schema.WarningEvent(step=3, update=3, message="the disk is full")
    assert said(warning, warning.model_copy(update={"spoken": False})) == ["step 3  warning: the disk is full"]


def test_what_a_healthy_run_puts_on_record_is_not_said() -> None:
    step = schema.StepEvent(step=1, update=1, loss=1, grad_norm=1, lr=1, lr_scale=1, step_seconds=1)
    saved = schema.CheckpointSavedEvent(checkpoint_step=1, path="checkpoints/step-1")
    assert said(schema.RunStartedEvent(steps=9), step, saved, finished(0)) == []


def test_of_many_lines_those_are_said_at_which_their_number_has_doubled() -> None:
    many = [event for n in range(1000) for event in (signal(n), opened(n, incident=n + 1), applied(n, incident=n + 1))]
    lines = said(*many, finished(1000))
    places = [int(line.split(" ")[1]) + 1 for line in lines[:-1]]
    assert places == [*range(1, MOST_LINES + 1), 40, 80, 160, 320, 640]
    assert lines[MOST_LINES - 1].endswith("skipped (20 such lines so far: the next one is said at 40)")
    assert lines[-2].endswith("(640 such lines so far: the next one is said at 1280)")
    assert lines[-1] == "finished after 900 steps with 1000 incidents"


def test_many_warnings_hold_no_incident_back() -> None:
    warnings = [schema.WarningEvent(message="again")] * 100
    lines = said(*warnings, signal(1), opened(1), applied(1), finished(1))
    assert len(lines) == MOST_LINES + 2 + 1
    assert lines[-1].startswith("step 1  nonfinite_loss")


def test_a_halt_is_said_after_many_lines_too() -> None:
    many = [event for n in range(30) for event in (signal(n), opened(n), applied(n))]
    halted = schema.RunHaltedEvent(step=30, update=30, reason="nothing is left")
    assert "halted: nothing is left" in said(*many, signal(30), applied(30, HALT), halted)[-1]


def test_other_settings_of_a_resumed_run_are_said() -> None:
    event = schema.SettingsChangedEvent(changes=("policy.cooldown_steps (20, now 3)",))
    assert said(event) == ["resumed with other settings: policy.cooldown_steps (20, now 3)"]
