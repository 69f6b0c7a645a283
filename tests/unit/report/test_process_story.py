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
from supervisor.events.writer import EventLog
from supervisor.report.process_story import (
    ProcessStory,
    exit_of,
    is_of_a_process,
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
    events = [event for event in read_events(run.run_dir) if is_of_a_process(event)]
    index = exit_of(death(), events)
    return what_followed(() if index is None else events[index + 1 :])


class TestWhatFollowed:
    def test_it_went_on_from_a_checkpoint(self, run):
        run.at(9, run.exited(ExitClassification.EXCEPTION))
        run.at(12, AGAIN)
        run.at(13, schema.RunResumedEvent(checkpoint_step=40, update=41))
        assert followed(run) == "it was started again, and went on from the checkpoint of step 40"

    def test_without_a_checkpoint_it_began_anew(self, run):
        run.at(9, run.exited(ExitClassification.EXCEPTION))
        run.at(12, AGAIN)
        run.at(13, schema.RunStartedEvent(steps=100))
        assert "from the beginning" in followed(run)

    def test_one_that_died_again_before_it_went_on_was_started_again(self, run):
        run.at(9, run.exited(ExitClassification.EXCEPTION))
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

    def test_nor_was_the_last_one_of_a_run_that_was_resumed_later(self, run):
        run.at(9, AGAIN)
        run.at(10, run.exited(ExitClassification.EXCEPTION))
        run.parent.emit(schema.WarningEvent(message=SPENT))
        run.parent = EventLog(run.parent.path, "run-1", None, run.clock)
        run.at(90, AGAIN)
        run.at(91, schema.RunResumedEvent(checkpoint_step=40, update=41))
        assert followed(run) == f"it was not started again: {SPENT}"

    def test_one_whose_parent_was_gone_too_was_resumed_and_not_started_again(self, run):
        run.at(9, AGAIN)
        run.at(10, run.exited(ExitClassification.EXCEPTION))
        run.parent = EventLog(run.parent.path, "run-1", None, run.clock)
        run.at(90, AGAIN)
        run.at(91, schema.RunResumedEvent(checkpoint_step=40, update=41))
        assert followed(run) == "the run was resumed later, and went on from the checkpoint of step 40"

    def test_the_line_of_a_death_is_found_by_the_life_and_not_by_a_clock_that_jumps(self, run):
        run.at(1, AGAIN)
        run.at(2, run.exited(ExitClassification.KILLED), AGAIN, run.exited(ExitClassification.KILLED))
        events = [*read_events(run.run_dir)]
        later = death(-3600).model_copy(update={"life": 2})
        index = exit_of(later, events)
        assert index is not None
        assert (events[index].event, events[index].life) == ("worker_exited", 2)

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
            (
                death(reason='Traceback\n  File "/home/me/mine.py", line 7, in loss\nTypeError: no'),
                "Mend `TypeError: no` at /home/me/mine.py:7 in loss; the traceback",
            ),
            (death(), "exit code 1 and left no traceback"),
            (death(kind=ExitClassification.STALLED, stacks="stacks.txt"), "process-0001/stacks.txt); where a step"),
            (death(kind=ExitClassification.OUT_OF_MEMORY), "ran out of memory"),
            (death(kind=ExitClassification.KILLED, signal="SIGSEGV"), "comes from native code"),
            (
                death(
                    kind=ExitClassification.KILLED,
                    signal="SIGSEGV",
                    reason='  File "/home/me/mine.py", line 7 in loss\nFatal Python error: Segmentation fault',
                ),
                "SIGSEGV comes from native code that /home/me/mine.py:7 called",
            ),
            (death(kind=ExitClassification.KILLED, signal="SIGKILL"), "Somebody outside of the run sent SIGKILL"),
        ],
    )
    def test_it_follows_the_reason(self, record: ProcessIncident, said: str):
        (line,) = process_advice(record, FOLDER)
        assert said in line

    def test_what_is_true_of_several_is_said_once(self):
        other = FOLDER.with_name("process-0002")
        stories = [ProcessStory(n, death(), at, "", ("Mend it.",)) for n, at in ((1, FOLDER), (2, other))]
        assert told_of_each(stories) == ["- (process-1, process-2) Mend it."]
