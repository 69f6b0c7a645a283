"""What happened in each incident, from its record and the events."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from supervisor.errors import InputError
from supervisor.events import schema
from supervisor.events.incident_file import IncidentCost, IncidentFile, ProcessIncident
from supervisor.events.schema import ExitClassification
from supervisor.records import ActionName, Outcome, SignalName
from supervisor.report.advice import advice
from supervisor.report.story import RunStory, plain_incident, plain_run, read_story
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
    assert found.processes[0].record == PROCESS
    assert found.incidents[0].opened_at is None


def test_one_incident_by_its_number(run):
    with pytest.raises(InputError, match="run: there is no incident 7: the run has none on record"):
        story(run).incident(7, "run")
    for number in (1, 2):
        write(run.run_dir, number)
    assert story(run).incident(2, "run").record.id == 2
    with pytest.raises(InputError, match="run: there is no incident 7: write one of 1, 2"):
        story(run).incident(7, "run")


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

    plain = {**written.model_dump(mode="json"), "advice": list(advice(written))}
    assert plain_incident(found.incidents[0]) == plain
    assert plain_run(found) == {
        "run_id": "run-1",
        "state": "running",
        "incidents": [plain],
        "process_incidents": [
            {
                **PROCESS.model_dump(mode="json"),
                "followed": "it was not started again",
                "advice": list(found.processes[0].advice),
            }
        ],
    }
