"""The story of incidents in plain words, line by line."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from supervisor.events import schema
from supervisor.events.incident_file import Bundle, CureRow, IncidentCost, IncidentFile, ProcessIncident
from supervisor.events.schema import ExitClassification
from supervisor.events.time_account import TimeAccount
from supervisor.evidence import Blame, Evidence
from supervisor.records import ActionName, Cause, CauseKind, Decision, Outcome, SignalName
from supervisor.report.process_story import ProcessStory
from supervisor.report.status import Status
from supervisor.report.story import RunStory, Story, Taken
from supervisor.report.story_view import render_incident, render_process, render_run, wrapped

AT = datetime(2026, 1, 1, 12, tzinfo=UTC)
FOLDER = Path("run/incidents/0001")


def taken(step: int, *, failed: str | None = None, restored_step: int | None = None) -> Taken:
    place = {"step": step, "update": step}
    action = ActionName.SKIP_BATCH if restored_step is None else ActionName.RELOAD_CHECKPOINT
    done = {**place, "incident": 1, "action": action}
    return Taken(
        signals=(schema.SignalEvent.model_validate({**place, "signal": "nonfinite_loss", "loss": "nan"}),),
        decision=schema.DecisionEvent(**done, rung=0, attempt=1, reason="the lowest rung"),
        failures=() if failed is None else (schema.ActionFailedEvent(**done, error=failed),),
        applied=schema.ActionAppliedEvent(**done, seconds=0.5, restored_step=restored_step),
    )


def story(*steps: Taken, number: int = 1, cause: Cause | None = None, **values: object) -> Story:
    record = IncidentFile.model_validate(
        {
            "id": number,
            "opened_at_step": 12,
            "closed_at_step": 20,
            "signals": (SignalName.NONFINITE_LOSS,),
            "decisions": (),
            "outcome": Outcome.RECOVERED,
            "cured_by": ActionName.SKIP_BATCH,
            "cost": IncidentCost(steps_lost=1, seconds=90),
            "cause": cause,
            **values,
        }
    )
    return Story(record, FOLDER, AT, tuple(steps), ("Clean row 4.",))


CAUSE = Cause(kind=CauseKind.BAD_INPUT, explanation="NaN in sample 3", step=12, update=12)


def test_one_incident_from_what_was_seen_to_what_to_change():
    bundle = Bundle(batch="batch.pt", state="state.pt", note="without the optimizer's state")

    assert render_incident(story(taken(12), cause=CAUSE, bundle=bundle), "my run") == [
        "Incident 1: nonfinite_loss at step 12: recovered by skip_batch, 2026-01-01 12:00:00 UTC",
        "",
        "What was seen",
        "  step 12 (update 12): nonfinite_loss (loss nan)",
        "",
        "Where it comes from",
        "  bad_input (the data): NaN in sample 3",
        "",
        "What was tried, and why",
        "  step 12: skip_batch (rung 0), for the lowest rung",
        "",
        "How it ended, and what it cost",
        "  skip_batch cured it; closed at step 20; it cost 1 step and 1 min 30 s",
        "  the skipped batch leaves no trace: parameters, optimizer and generators are as if it was never seen",
        "",
        "What to change",
        "  - Clean row 4.",
        "",
        "Evidence",
        "  run/incidents/0001/incident.json",
        "  run/incidents/0001/batch.pt: the batch",
        "  run/incidents/0001/state.pt: the state before the step",
        "  without the optimizer's state",
        "  run the step again: supervisor explain my run 1 --replay",
    ]


def test_a_run_without_a_job_is_not_told_to_replay_what_cannot_be_built():
    """`--replay` builds the trainer from job.yaml, which a guard in a loop of one's own does not write."""
    found = replace(story(cause=CAUSE, bundle=Bundle(batch="batch.pt", state="state.pt")), of_job=False)
    lines = render_incident(found, "run")
    assert lines[-1] == "  look into them with torch.load(path, weights_only=True)"
    assert not any("--replay" in line for line in lines)


def test_the_same_finding_at_several_updates_is_told_once_and_what_failed_is_told():
    lines = render_incident(story(taken(12), taken(13), taken(14, failed="no state", restored_step=10)), "run")

    assert "  steps 12 to 14 (updates 12 to 14): nonfinite_loss (loss nan)" in lines
    tried = lines[lines.index("What was tried, and why") + 1 :][:4]
    assert tried == [
        "  step 12: skip_batch (rung 0), for the lowest rung",
        "  step 13: skip_batch (rung 0), for the lowest rung",
        "  step 14: reload_checkpoint failed: no state",
        "  step 14: reload_checkpoint (rung 0), for the lowest rung; back to step 10 (0.5 s)",
    ]


def test_a_long_story_is_cut():
    lines = render_incident(story(*(taken(step) for step in range(30))), "run")

    tried = lines[lines.index("What was tried, and why") + 1 : lines.index("How it ended, and what it cost") - 1]
    assert len(tried) == 13
    assert tried[-1] == "  and 18 more: see `supervisor events`"


def test_an_incident_that_nobody_looked_into_or_that_is_not_over():
    lines = render_incident(story(outcome=Outcome.OPEN, closed_at_step=None, cured_by=None), "run")
    assert lines[0].startswith("Incident 1: nonfinite_loss at step 12: still open")
    assert "  not known: nobody has looked, or the diagnosis did not come to an end" in lines
    assert "  still open; 1 step lost so far" in lines
    assert "What was seen" not in lines

    halted = render_incident(story(outcome=Outcome.HALTED, cured_by=None, later_causes=(CAUSE,), cause=CAUSE), "run")
    assert "  what its later updates showed (1) is in incident.json" in halted
    assert "  the run halted at step 20, the model in its newest good state; 1 step and 1 min 30 s lost" in halted

    def halt(in_place: bool) -> tuple[Decision, ...]:
        return (Decision(1, 4, ActionName.HALT, 1, "the data are bad", in_place=in_place),)

    ended = {"outcome": Outcome.HALTED, "cured_by": None}
    in_place = render_incident(story(**ended, decisions=halt(True)), "run")
    assert "  the run halted at step 20, the model left as it stood before the flagged update" in "\n".join(in_place)
    nowhere = render_incident(story(taken(12), **ended, decisions=halt(False)), "run")
    assert "the model left as it stood before the flagged update" in "\n".join(nowhere)
    back = render_incident(story(taken(12, restored_step=10), **ended, decisions=halt(False)), "run")
    assert "the model in its newest good state, that of step 10;" in "\n".join(back)


def test_a_run_in_short_with_each_advice_once():
    process = ProcessIncident(
        time=AT,
        classification=ExitClassification.STALLED,
        exit_code=None,
        signal="SIGTERM",
        reason="Traceback\nValueError: no",
        stacks="stacks.txt",
    )
    run = RunStory(
        Status(account=TimeAccount(training=30.0, start_up=10.0)),
        (
            story(cause=CAUSE),
            ProcessStory(1, process, Path("run/incidents/process-0001"), "it was started again", ("Wait longer.",)),
            story(number=2),
        ),
    )

    lines = render_run(run, "run")

    assert lines[:2] == [
        "run: 3 incidents (2 of the training, 1 of its process), 2 steps lost and 3 min spent in those of the training",
        "  40 s: training 75.0% (30 s), start-up 25.0% (10 s)",
    ]
    assert lines[3:6] == [
        "1. nonfinite_loss at step 12: recovered by skip_batch",
        "  bad_input (the data): NaN in sample 3",
        "  skip_batch cured it; closed at step 20; it cost 1 step and 1 min 30 s",
    ]
    at = lines.index("process-1: the worker was gone at 12:00:00 UTC: stalled (SIGTERM)")
    assert lines[at + 1 : at + 4] == [
        "  it was started again",
        "  ValueError: no",
        "  what its threads were at: run/incidents/process-0001/stacks.txt",
    ]
    assert lines[-5:] == [
        "What to change",
        "  - (incidents 1, 2) Clean row 4.",
        "  - (process-1) Wait longer.",
        "",
        "The whole of one: supervisor explain run 1",
    ]


def test_a_run_without_incidents_says_so():
    assert render_run(RunStory(Status()), "run") == ["run: no incidents"]


def test_lines_for_a_terminal_keep_their_indent() -> None:
    broken = list(wrapped(["  - " + "word " * 30, "", "short"], 50))
    assert all(len(line) <= 50 for line in broken)
    assert [line[:4] for line in broken[:2]] == ["  - ", "    "]
    assert broken[-2:] == ["", "short"]


def test_the_cures_that_were_tried_stand_in_a_table() -> None:
    rows = (CureRow(cure="keep", score=float("inf")), CureRow(cure="lr 0.1", score=0.25, from_step=20, chosen=True))
    lines = render_incident(story(taken(3), cures=rows), "runs/a")
    start = lines.index("Cures of the set-up, each tried on a fork")
    assert lines[start + 1 : start + 3] == [
        "  keep    from step 0: loss inf",
        "  lr 0.1  from step 20: loss 0.25, in force",
    ]


def test_why_a_cause_is_not_known_is_said() -> None:
    assert "  not known: it took too long" in render_incident(story(not_known="it took too long"), "run")


def test_warnings_are_told_with_the_incidents_or_without_any() -> None:
    status = Status(warnings=5, last_warnings=("the loss stands still",))
    lines = ["", "Warnings", "  the loss stands still", "  all 5: supervisor events run --event warning"]
    assert render_run(RunStory(status), "run") == ["run: no incidents", *lines]
    assert render_run(RunStory(status, (story(),)), "run")[-6:-2] == lines


def test_a_batch_that_came_again_is_not_said_to_be_never_seen():
    skipped = taken(12)
    retried = replace(skipped, decision=skipped.decision.model_copy(update={"retry": True}))
    mended = replace(skipped, decision=skipped.decision.model_copy(update={"evidence": Evidence(Blame.DATA, "", 0)}))
    ends = [
        (skipped, "the skipped batch leaves no trace: parameters"),
        (retried, "and the same batch came again"),
        (mended, "and the rest of the batch came again"),
    ]
    for each, end in ends:
        (line,) = [line for line in render_incident(story(each, cause=CAUSE), "run") if "no trace" in line]
        assert end in line


def test_rows_that_are_left_out_are_named_and_cut_where_they_are_many():
    few = replace(story(cause=CAUSE), left_out=(3, 8))
    assert "  left out of the data set since: rows 3, 8" in render_incident(few, "run")
    many = replace(few, left_out=tuple(range(25)))
    (line,) = [each for each in render_incident(many, "run") if "since: rows" in each]
    assert line.endswith(" 18, 19 and 5 more (25 in all)")


def test_where_the_diagnosis_was_on_nobody_is_told_to_switch_it_on():
    unknown = replace(story(), diagnosed=True)
    assert "  not known: the diagnosis was on, and named no cause" in render_incident(unknown, "run")
    off = replace(unknown, diagnosed=False)
    assert "  not known: nobody has looked: the diagnosis is switched off" in render_incident(off, "run")


def test_one_that_a_resume_has_undone_is_not_open():
    undone = replace(
        story(outcome=Outcome.OPEN, cured_by=None, closed_at_step=None),
        undone="undone: the run was resumed from before it",
    )
    lines = render_incident(undone, "run")
    assert lines[0].startswith("Incident 1: nonfinite_loss at step 12: undone: the run was resumed from before it")
    assert not any("still open" in line for line in lines)


def test_a_death_of_the_process_is_told_like_an_incident():
    record = ProcessIncident(
        time=AT,
        classification=ExitClassification.KILLED,
        exit_code=None,
        signal="SIGKILL",
        reason=None,
        stacks=None,
    )
    death = ProcessStory(2, record, Path("run/incidents/process-0002"), "it was started again", ("Look.",))
    assert render_process(death) == [
        "Incident process-2: the worker was gone at 12:00:00 UTC: killed (SIGKILL)",
        *("", "What it left behind", "  no traceback"),
        *("", "What followed", "  it was started again"),
        *("", "What to change", "  - Look."),
        *("", "Evidence", "  run/incidents/process-0002/incident.json"),
    ]
    lines = render_run(RunStory(Status(), (death,)), "run")
    assert lines[0].startswith("run: 1 incident (0 of the training, 1 of its process)")
    assert lines[-1] == "The whole of one: supervisor explain run process-2"
