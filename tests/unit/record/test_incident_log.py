"""What went wrong and what was done: as events, and as one file an incident."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.parts import log_to

from supervisor.actions import Effect, Restored
from supervisor.diagnosis import Diagnosis
from supervisor.engine import Closed
from supervisor.record.incident_log import IncidentLog
from supervisor.records import (
    ActionName,
    Bundle,
    Cause,
    CauseKind,
    Decision,
    Incident,
    Observation,
    Outcome,
    Signal,
    SignalName,
)
from supervisor.run_layout import RunLayout
from supervisor.testing.events import EventList

SEEN = Observation(8, 9, 1.0, 2.0)
DECISION = Decision(1, 0, ActionName.SKIP_BATCH, 1, "because")
CAUSE = Cause(CauseKind.BAD_INPUT, "sample 2", 8, 9, samples=(2,))
INCIDENT = Incident(
    1,
    8,
    9,
    signals=(SignalName.NONFINITE_LOSS,),
    decisions=(DECISION,),
    steps_lost=3,
    causes=(CAUSE, replace(CAUSE, update=12)),
    traceback="Traceback",
    bundle=Bundle("batch.pt", None),
)


class Setting:
    def __init__(self, root: Path | None = None) -> None:
        self.heard = EventList()
        self.record = IncidentLog(log_to(self.heard), None if root is None else RunLayout(root))

    def only(self) -> Any:
        (event,) = self.heard
        assert (event.step, event.update) == (8, 9)
        return event


def test_every_finding_is_on_record_with_its_numbers() -> None:
    setting = Setting()
    found = (
        Signal(SignalName.NONFINITE_LOSS, {"loss": 3.5}),
        Signal(SignalName.NONFINITE_GRADIENT, {"tensors": ("a",)}),
    )
    setting.record.signals(found, SEEN)
    assert [(event.event, event.signal, event.step, event.update) for event in setting.heard] == [
        ("signal", "nonfinite_loss", 8, 9),
        ("signal", "nonfinite_gradient", 8, 9),
    ]
    assert (setting.heard[0].loss, setting.heard[1].tensors) == (3.5, ("a",))


def test_an_incident_opens_with_the_names_of_what_was_found() -> None:
    setting = Setting()
    setting.record.opened(4, (Signal(SignalName.LOSS_SPIKE), Signal(SignalName.GRADIENT_SPIKE)), SEEN)
    event = setting.only()
    assert (event.event, event.incident, event.signals) == ("incident_opened", 4, ("loss_spike", "gradient_spike"))


def test_a_cause_is_on_record() -> None:
    setting = Setting()
    setting.record.diagnosed(4, Diagnosis(CAUSE), SEEN)
    event = setting.only()
    assert (event.event, event.incident, event.kind, event.samples) == ("diagnosis", 4, "bad_input", (2,))


@pytest.mark.parametrize(
    ("failure", "why"), [("it took too long", "it took too long"), (None, "nothing that it looks for was found")]
)
def test_a_cause_that_is_not_known_is_a_warning_that_says_why(failure: str | None, why: str) -> None:
    setting = Setting()
    setting.record.diagnosed(4, Diagnosis(None, failure), SEEN)
    event = setting.only()
    assert (event.event, event.message) == ("warning", f"the cause of incident 4 is not known: {why}")


def test_a_decision_is_on_record_with_what_could_not_act() -> None:
    setting = Setting()
    setting.record.decided(replace(DECISION, retry=True), SEEN, {1: "no good state"}, can_retry=True)
    event = setting.only()
    assert (event.event, event.incident, event.rung, event.action) == ("decision", 1, 0, "skip_batch")
    assert (event.attempt, event.reason, event.blocked) == (1, "because", {1: "no good state"})
    assert (event.can_retry, event.retry) == (True, True)


def test_an_action_that_failed_is_on_record() -> None:
    setting = Setting()
    setting.record.failed(DECISION, "out of paper", SEEN)
    event = setting.only()
    assert (event.event, event.incident, event.action, event.error) == (
        "action_failed",
        1,
        "skip_batch",
        "out of paper",
    )


def test_an_action_is_on_record_with_all_that_it_did() -> None:
    setting = Setting()
    setting.record.applied(DECISION, Effect(Restored(5, "disk", 3), ("gru",)), SEEN, 0.5, 1.25)
    event = setting.only()
    assert (event.event, event.incident, event.action, event.seconds) == ("action_applied", 1, "skip_batch", 1.25)
    assert (event.restored_step, event.restored_from, event.replayed_batches) == (5, "disk", 3)
    assert (event.lr_scale, event.modules) == (0.5, ("gru",))


def test_an_action_that_did_nothing_more_says_nothing_more() -> None:
    setting = Setting()
    setting.record.applied(DECISION, Effect(), SEEN, None, 0.0)
    event = setting.only()
    assert (event.restored_step, event.restored_from, event.replayed_batches) == (None, None, 0)
    assert (event.lr_scale, event.modules) == (None, None)


class TestClosing:
    ENDED = replace(
        INCIDENT,
        closed_at_step=20,
        outcome=Outcome.RECOVERED,
        cured_by=ActionName.SKIP_BATCH,
        seconds=4.5,
    )

    def test_a_cured_incident_is_on_record_and_in_its_file(self, tmp_path: Path) -> None:
        setting = Setting(tmp_path)
        setting.record.closed(Closed(1, ActionName.SKIP_BATCH), self.ENDED, SEEN, 1.0)
        event = setting.only()
        assert (event.event, event.incident, event.cured_by) == ("incident_closed", 1, "skip_batch")
        assert (event.steps_lost, event.seconds) == (3, 4.5)
        written = json.loads((tmp_path / "incidents" / "0001" / "incident.json").read_text(encoding="utf-8"))
        assert (written["outcome"], written["cured_by"], written["closed_at_step"]) == ("recovered", "skip_batch", 20)

    def test_cuts_that_are_taken_back_are_on_record_by_themselves(self, tmp_path: Path) -> None:
        setting = Setting(tmp_path)
        setting.record.closed(Closed(cuts_taken_back=2), None, SEEN, 0.5)
        event = setting.only()
        assert (event.event, event.lr_scale) == ("lr_restored", 0.5)
        assert not (tmp_path / "incidents").exists()

    def test_both_come_in_order(self) -> None:
        setting = Setting()
        setting.record.closed(Closed(1, ActionName.SKIP_BATCH, 1), self.ENDED, SEEN, 1.0)
        assert [event.event for event in setting.heard] == ["incident_closed", "lr_restored"]


class TestTheFile:
    def written(self, root: Path, incident: Incident = INCIDENT) -> Any:
        setting = Setting(root)
        setting.record.write(incident)
        assert setting.heard == []
        return json.loads((root / "incidents" / "0001" / "incident.json").read_text(encoding="utf-8"))

    def test_it_holds_the_incident(self, tmp_path: Path) -> None:
        held = self.written(tmp_path)
        assert (held["id"], held["opened_at_step"], held["closed_at_step"]) == (1, 8, None)
        assert (held["signals"], held["outcome"], held["cured_by"]) == (["nonfinite_loss"], "open", None)
        assert held["decisions"][0]["reason"] == "because"
        assert held["cost"] == {"steps_lost": 3, "seconds": 0.0}
        assert (held["traceback"], held["bundle"]["batch"]) == ("Traceback", "batch.pt")

    def test_only_what_its_first_update_showed_opened_it(self, tmp_path: Path) -> None:
        held = self.written(tmp_path)
        assert (held["cause"]["update"], [each["update"] for each in held["later_causes"]]) == (9, [12])
        held = self.written(tmp_path, replace(INCIDENT, causes=(replace(CAUSE, update=12),)))
        assert (held["cause"], [each["update"] for each in held["later_causes"]]) == (None, [12])

    def test_it_is_replaced_whole(self, tmp_path: Path) -> None:
        self.written(tmp_path)
        assert self.written(tmp_path, replace(INCIDENT, steps_lost=4))["cost"]["steps_lost"] == 4
        assert [path.name for path in (tmp_path / "incidents" / "0001").iterdir()] == ["incident.json"]

    def test_a_disk_that_refuses_is_a_warning(self, tmp_path: Path) -> None:
        (tmp_path / "incidents").write_text("a file where the folder would be", encoding="utf-8")
        setting = Setting(tmp_path)
        setting.record.write(INCIDENT)
        (warning,) = setting.heard
        assert warning.message.startswith("0001/incident.json could not be written: ")

    def test_without_a_run_directory_or_an_incident_nothing_is_written(self, tmp_path: Path) -> None:
        Setting().record.write(INCIDENT)
        Setting(tmp_path).record.write(None)
        assert list(tmp_path.iterdir()) == []
