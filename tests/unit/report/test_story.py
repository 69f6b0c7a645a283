"""What happened in each incident, from its record and the events."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from supervisor.errors import InputError
from supervisor.events import schema
from supervisor.events.incident_file import IncidentCost, IncidentFile, ProcessIncident
from supervisor.events.quarantine_file import QuarantinedSample, write_quarantine
from supervisor.events.schema import ExitClassification
from supervisor.events.time_account import TimeAccount
from supervisor.records import ActionName, Outcome, SignalName
from supervisor.report.advice import advice
from supervisor.report.story import RunStory, diagnosis_is_on, plain_incident, plain_run, read_story
from supervisor.run_layout import INCIDENT_FILE, RunLayout, replace_file

AT = datetime(2026, 1, 1, 0, 0, 11, tzinfo=UTC)


def record(number: int = 1, **values: Any) -> IncidentFile:
    return IncidentFile.model_validate(
        {
            "id": number,
            "opened_at_step": 20,
            "closed_at_step": 41,
            "signals": (SignalName.NONFINITE_LOSS,),
            "decisions": (),
            "outcome": Outcome.RECOVERED,
            "cured_by": ActionName.SKIP_BATCH,
            "cost": IncidentCost(steps_lost=2, seconds=1.5),
            **values,
        }
    )


PROCESS = ProcessIncident(
    time=AT,
    classification=ExitClassification.KILLED,
    exit_code=None,
    signal="SIGKILL",
    reason=None,
    stacks=None,
)


def write(run_dir: Path, number: int = 1) -> IncidentFile:
    written = record(number)
    replace_file(RunLayout(run_dir).incident(number) / INCIDENT_FILE, written.model_dump_json())
    return written


def story(run: Any) -> RunStory:
    return read_story(str(run.run_dir))


def test_a_run_without_incidents(run):
    run.step(1, 1)
    assert (story(run).incidents, story(run).processes) == ((), ())
    assert story(run).status == run.status()


def test_an_incident_is_its_record_with_what_was_done_at_each_flagged_update(run):
    written = write(run.run_dir)
    run.step(10, 19)
    run.flag(11, 20, 20, opens=True)
    failed = {"step": 21, "update": 21, "incident": 1, "action": ActionName.LOWER_LR}
    run.at(12, schema.SignalEvent(step=21, update=21, signal=SignalName.LOSS_SPIKE))
    run.at(12, schema.DecisionEvent(**failed, rung=1, attempt=1, reason="next"))
    run.at(12, schema.ActionFailedEvent(**failed, error="no rate"))
    run.at(12, schema.DecisionEvent(**{**failed, "action": ActionName.HALT}, rung=2, attempt=1, reason="last"))
    run.close(20, 41, 41)

    (found,) = story(run).incidents

    assert (found.record, found.folder) == (written, RunLayout(run.run_dir).incident(1))
    assert (found.opened_at, found.advice) == (AT, advice(written))
    first, second = found.taken
    assert (first.decision.step, first.decision.update) == (20, 20)
    assert [signal.signal for signal in first.signals] == ["nonfinite_loss"]
    assert first.applied is not None
    assert (first.decision.action, first.applied.action, first.failures) == ("skip_batch", "skip_batch", ())
    assert (second.decision.update, [signal.signal for signal in second.signals]) == (21, ["loss_spike"])
    assert (second.decision.action, second.applied) == ("halt", None)
    assert [failure.error for failure in second.failures] == ["no rate"]


def test_signals_of_healthy_updates_and_of_other_ranks_are_no_part_of_it(run):
    write(run.run_dir)
    run.at(5, schema.SignalEvent(step=9, update=9, signal=SignalName.SANITIZED_VALUES))
    run.flag(11, 20, 20, opens=True)

    (found,) = story(run).incidents

    assert [[signal.signal for signal in each.signals] for each in found.taken] == [["nonfinite_loss"]]


def test_incidents_and_processes_come_in_order_and_what_has_no_record_is_left_out(run):
    layout = RunLayout(run.run_dir)
    for number in (10, 2):
        write(run.run_dir, number)
    for number in (1, 3):
        replace_file(layout.process_incident(number) / INCIDENT_FILE, PROCESS.model_dump_json())
    layout.incident(4).mkdir()
    layout.process_incident(2).mkdir()

    found = story(run)

    assert [each.record.id for each in found.incidents] == [2, 10]
    assert [each.folder.name for each in found.processes] == ["process-0001", "process-0003"]
    assert [each.name for each in found.in_time] == ["2", "10", "process-1", "process-3"]
    assert found.processes[0].record == PROCESS
    assert found.incidents[0].opened_at is None


def test_both_kinds_are_one_list_in_time(run):
    for number in (1, 2):
        write(run.run_dir, number)
    for number, life in ((1, 1), (2, 2)):
        told = PROCESS.model_copy(update={"life": life})
        replace_file(RunLayout(run.run_dir).process_incident(number) / INCIDENT_FILE, told.model_dump_json())
    started = schema.WorkerStartedEvent(pid=5)
    run.at(1, started)
    run.flag(2, 20, 20, opens=True)
    run.at(3, run.exited(ExitClassification.KILLED))
    run.at(4, started, run.exited(ExitClassification.KILLED), started)
    run.at(5, schema.RunResumedEvent(checkpoint_step=25, update=25))
    run.flag(6, 30, 30, opens=True, incident=2)

    found = story(run)

    assert [each.name for each in found.in_time] == ["1", "process-1", "process-2", "2"]
    assert [each.followed for each in found.processes] == [
        "it was started again",
        "it was started again, and went on from the checkpoint of step 25",
    ]


def test_one_incident_by_its_name(run):
    with pytest.raises(InputError, match="run: there is no incident 7: the run has none on record"):
        story(run).incident("7", "run")
    for number in (1, 2):
        write(run.run_dir, number)
        replace_file(RunLayout(run.run_dir).process_incident(number) / INCIDENT_FILE, PROCESS.model_dump_json())
    asked = {"2": "0002", "0002": "0002", "process-2": "process-0002", "process-0001": "process-0001"}
    for name, folder in asked.items():
        assert story(run).incident(name, "run").folder.name == folder
    for name in ("7", "process-7", "no process-2", "two", "0", ""):
        known = "write one of 1, 2, process-1, process-2"
        with pytest.raises(InputError, match=f"run: there is no incident {name}: {known}"):
            story(run).incident(name, "run")


def test_an_incident_that_a_resume_has_made_void_is_not_open(run):
    still_open = record(outcome=Outcome.OPEN, cured_by=None, closed_at_step=None)
    replace_file(RunLayout(run.run_dir).incident(1) / INCIDENT_FILE, still_open.model_dump_json())
    run.flag(2, 20, 20, opens=True)
    assert story(run).incidents[0].undone is None
    run.at(3, schema.RunResumedEvent(checkpoint_step=10, update=10))
    assert story(run).incidents[0].undone == "undone: the run was resumed from before it"
    assert (run.status().open_incident, run.status().rung) == (None, None)


def test_nor_is_one_that_a_new_ladder_has_given_up(run):
    still_open = record(outcome=Outcome.OPEN, cured_by=None, closed_at_step=None)
    replace_file(RunLayout(run.run_dir).incident(1) / INCIDENT_FILE, still_open.model_dump_json())
    run.flag(2, 20, 20, opens=True)
    run.at(3, schema.RunResumedEvent(checkpoint_step=30, update=30, ladder_begins_anew=True))
    assert story(run).incidents[0].undone == "given up: the run was resumed with a ladder that begins anew"
    assert (run.status().open_incident, run.status().rung) == (None, None)


def test_all_rows_that_an_incident_has_left_out_are_named_but_those_that_were_released(run):
    write(run.run_dir)
    run.flag(2, 20, 20, opens=True)
    for update, rows in ((20, (3,)), (21, (8, 9))):
        run.at(3, schema.QuarantinedEvent(step=update, update=update, incident=1, dataset_indices=rows))
    assert story(run).incidents[0].left_out == (3, 8, 9)
    write_quarantine(RunLayout(run.run_dir).quarantine, [QuarantinedSample(index=row) for row in (3, 9)])
    assert story(run).incidents[0].left_out == (3, 9)
    assert run.status().quarantined == (3, 9)


@pytest.mark.parametrize("enabled", [True, False])
def test_whether_the_diagnosis_was_on_is_read_from_the_policy_of_the_run(run, enabled: bool):
    write(run.run_dir)
    layout = RunLayout(run.run_dir)
    assert diagnosis_is_on(layout) is None
    layout.policy.write_text(f"diagnose: {{enabled: {str(enabled).lower()}}}\n")
    assert diagnosis_is_on(layout) is enabled
    (line, *_) = story(run).incidents[0].advice
    assert line.startswith("The cause is not known: the diagnosis was on" if enabled else "Nobody has looked")


@pytest.mark.parametrize("content", ["", "{", "{}", "null"])
def test_a_record_that_cannot_be_read_is_named(run, content: str):
    path = RunLayout(run.run_dir).incident(1) / INCIDENT_FILE
    replace_file(path, content)
    with pytest.raises(InputError, match=r"0001/incident\.json: not the record of an incident .*: restore or delete"):
        story(run)


def test_for_machines(run):
    written = write(run.run_dir)
    replace_file(RunLayout(run.run_dir).process_incident(1) / INCIDENT_FILE, PROCESS.model_dump_json())

    found = story(run)

    beside = {"advice": list(advice(written)), "left_out": [], "undone": None}
    plain = {"name": "1", **written.model_dump(mode="json"), **beside}
    assert plain_incident(found.incidents[0]) == plain
    assert plain_run(found) == {
        "run_id": "run-1",
        "state": "running",
        "seconds": 0.0,
        "account": TimeAccount().model_dump(),
        "in_time": ["1", "process-1"],
        "incidents": [plain],
        "process_incidents": [
            {
                "name": "process-1",
                **PROCESS.model_dump(mode="json"),
                "followed": "it was not started again",
                "advice": list(found.processes[0].advice),
            }
        ],
    }
