"""Incidents gathered from the log."""

from __future__ import annotations

from pathlib import Path

from support.written_run import WrittenRun

from supervisor.events import schema
from supervisor.records import Outcome
from supervisor.sinks.incidents import MOST_KEPT, Incident, Incidents
from supervisor.sinks.tail import Tail


def told(run: WrittenRun, incidents: Incidents, tail: Tail | None = None) -> list[Incident]:
    ended = [incidents.tell(event, void=void) for event, void, _ in (tail or Tail(run.layout, {})).read()]
    return [each for each in ended if each is not None]


def test_an_incident_has_the_findings_of_its_updates(tmp_path: Path) -> None:
    run = WrittenRun(tmp_path)
    run.start()
    run.incident(1, 5, closes_at=9)
    incidents = Incidents()
    (ended,) = told(run, incidents)
    names = [event.event for event in ended.events]
    assert names == [
        *("incident_opened", "diagnosis", "signal", "experiment", "decision"),
        *("action_applied", "incident_closed"),
    ]
    assert (ended.number, ended.opened.step, ended.outcome) == (1, 5, Outcome.RECOVERED)
    assert (ended.signals, ended.actions, ended.cause) == (("nonfinite_loss",), ("skip_batch",), "bad_input")
    assert incidents.all == [ended]
    assert ended.headline() == ("incident 1 at step 5: nonfinite_loss; cured by skip_batch, 1 steps lost, 3.5 s")
    assert any("decided: skip_batch" in line for line in ended.lines())


def test_a_halt_ends_the_one_that_is_open(tmp_path: Path) -> None:
    run = WrittenRun(tmp_path)
    run.start()
    run.incident(1, 5)
    run.log.emit(schema.RunHaltedEvent(step=5, update=5, reason="the ladder ended"))
    (ended,) = told(run, Incidents())
    assert ended.outcome is Outcome.HALTED
    assert ended.headline().endswith("the run was halted: the ladder ended")


def test_a_resume_takes_back_what_came_after_its_checkpoint(tmp_path: Path) -> None:
    """The same, whether it was told before the resume came, or is read with it."""
    run = WrittenRun(tmp_path)
    run.start()
    live, tail = Incidents(), Tail(run.layout, {})
    run.incident(1, 5, closes_at=9)
    run.incident(2, 12)
    assert [each.number for each in told(run, live, tail)] == [1]
    assert [each.number for each in live.all] == [1, 2]
    run.resume(7)
    assert told(run, live, tail) == []
    after = Incidents()
    told(run, after)
    for incidents in (live, after):
        (left,) = incidents.all
        assert (left.number, left.outcome) == (1, Outcome.OPEN)
        assert left.headline().endswith("still open")


def test_a_run_that_begins_anew_has_none(tmp_path: Path) -> None:
    run = WrittenRun(tmp_path)
    run.start()
    run.incident(1, 5)
    incidents = Incidents()
    told(run, incidents)
    incidents.tell(schema.RunStartedEvent())
    assert incidents.all == []


def test_of_a_run_with_very_many_only_the_last_are_kept(tmp_path: Path) -> None:
    incidents = Incidents()
    for number in range(1, MOST_KEPT + 11):
        incidents.tell(schema.IncidentOpenedEvent(incident=number, step=number, update=number))
    assert (len(incidents.all), incidents.count, incidents.all[0].number) == (MOST_KEPT, MOST_KEPT + 10, 11)
