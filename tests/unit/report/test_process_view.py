from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from supervisor.events.incident_file import ProcessIncident
from supervisor.report.process_story import ProcessStory
from supervisor.report.process_view import TO_CHANGE, process_details, process_headline, process_sections


def story(**fields: object) -> ProcessStory:
    values = {
        "time": datetime(2026, 1, 1, 12, tzinfo=UTC),
        "classification": "killed",
        "exit_code": None,
        "signal": "SIGKILL",
        "reason": None,
        "stacks": None,
        **fields,
    }
    return ProcessStory(2, ProcessIncident.model_validate(values), Path("run/x"), "it was started again", ("Look.",))


def test_which_worker_was_gone_when_and_how() -> None:
    assert process_headline(story()) == "process-2: the worker was gone at 12:00:00 UTC: killed (SIGKILL)"
    assert process_headline(story(signal=None, exit_code=3)).endswith("killed (exit code 3)")


def test_what_is_told_of_it() -> None:
    told = dict(process_sections(story(reason="a\nValueError: b", stacks="stacks.txt")))
    assert told["What it left behind"] == ["a", "ValueError: b"]
    assert told[TO_CHANGE] == ["Look."]
    assert told["Evidence"] == ["run/x/incident.json", "run/x/stacks.txt: what its threads were at"]
    assert [*process_details(story(reason="a\nValueError: b"))] == ["it was started again", "ValueError: b"]
