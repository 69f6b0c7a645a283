"""What became of a run after its worker was gone, and what to change."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from supervisor.events import schema
from supervisor.events.incident_file import ProcessIncident
from supervisor.events.reader import read_events
from supervisor.events.schema import ExitClassification
from supervisor.report.process_story import (
    ProcessStory,
    is_of_a_process,
    last_line,
    process_advice,
    told_of_each,
    what_followed,
)

START = datetime(2026, 1, 1, tzinfo=UTC)
FOLDER = Path("run/incidents/process-0001")
AGAIN = schema.WorkerStartedEvent(pid=6, restarts=1)
SPENT = "the restart budget is spent: the worker died 3 times"


def death(
    seconds: float = 10, kind: ExitClassification = ExitClassification.EXCEPTION, **values: Any
) -> ProcessIncident:
    time = START + timedelta(seconds=seconds)
    told = {"exit_code": 1, "signal": None, "reason": None, "stacks": None, **values}
    return ProcessIncident(time=time, classification=kind, **told)


def followed(run: Any) -> str:
    return what_followed(death(), [event for event in read_events(run.run_dir) if is_of_a_process(event)])


class TestWhatFollowed:
    def test_it_went_on_from_a_checkpoint(self, run):
        run.at(9, run.exited(ExitClassification.EXCEPTION))
        run.at(12, AGAIN)
        run.at(13, schema.RunResumedEvent(checkpoint_step=40, update=41))
        assert followed(run) == "it was started again, and went on from the checkpoint of step 40"

    def test_without_a_checkpoint_it_began_anew(self, run):
        run.at(12, AGAIN)
        run.at(13, schema.RunStartedEvent(steps=100))
        assert "from the beginning" in followed(run)

    def test_one_that_died_again_before_it_went_on_was_started_again(self, run):
        run.at(12, AGAIN)
        run.at(13, run.exited(ExitClassification.EXCEPTION))
        run.at(14, AGAIN)
        run.at(15, schema.RunResumedEvent(checkpoint_step=40, update=41))
        assert followed(run) == "it was started again"

    def test_the_one_that_spent_the_budget_was_not(self, run):
        run.at(9, AGAIN)
        run.at(10, run.exited(ExitClassification.EXCEPTION))
        run.clock.advance(1)
        run.parent.emit(schema.WarningEvent(message=SPENT))
        assert followed(run) == f"it was not started again: {SPENT}"

    def test_nor_one_after_which_nothing_is_on_record(self, run):
        assert followed(run) == "it was not started again"


class TestAdvice:
    @pytest.mark.parametrize(
        ("record", "said"),
        [
            (
                death(reason="Traceback\n\nValueError: no"),
                "Mend `ValueError: no`; the traceback is in its incident.json",
            ),
            (death(), "exit code 1 and left no traceback"),
            (death(kind=ExitClassification.STALLED, stacks="stacks.txt"), "process-0001/stacks.txt); where a step"),
            (death(kind=ExitClassification.OUT_OF_MEMORY), "ran out of memory"),
            (death(kind=ExitClassification.KILLED, signal="SIGSEGV"), "comes from native code"),
            (death(kind=ExitClassification.KILLED, signal="SIGKILL"), "Somebody outside of the run sent SIGKILL"),
        ],
    )
    def test_it_follows_the_reason(self, record: ProcessIncident, said: str):
        (line,) = process_advice(record, FOLDER)
        assert said in line

    def test_what_is_true_of_several_is_said_once(self):
        other = FOLDER.with_name("process-0002")
        stories = [ProcessStory(death(), folder, "", ("Mend it.",)) for folder in (FOLDER, other)]
        assert told_of_each(stories) == ["- (process-0001, process-0002) Mend it."]


def test_the_last_line_of_a_traceback():
    assert (last_line("a\nb \n"), last_line(" \n"), last_line(None)) == ("b", None, None)
