"""Invariant 10: every intervention is on record: signal, decision, action_applied, incident_closed or run_halted."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from support.command import read_lines
from support.training import EventList, build, guard_of, healthy_batches, nan_batch, quiet

from supervisor import PolicyHalt
from supervisor.events.base import OtherEvent
from supervisor.events.schema import parse_event

BATCHES = healthy_batches(80)
POLICY = quiet(
    ladder=[
        {"action": "skip_batch", "attempts": 2},
        {"action": "lower_lr", "attempts": 1, "restore_after_steps": 8},
        {"action": "reload_checkpoint", "attempts": 1},
        {"action": "reinitialize", "attempts": 1, "modules": ["outer"]},
    ],
    snapshot={"every_steps": 5},
    checkpoint={"every_steps": 10},
    probation_steps=2,
    cooldown_steps=4,
)
ORDER = ["signal", "incident_opened", "decision", "action_applied"]


def run(run_dir: Path, bad: set[int], *, steps: int = 40, **options: Any) -> tuple[EventList, list[dict[str, Any]]]:
    heard = EventList()
    guard = guard_of(build(scheduler="cosine"), policy=POLICY, run_dir=run_dir, listeners=[heard], **options)
    try:
        for number in range(steps):
            guard.step(nan_batch(BATCHES[number]) if number in bad else BATCHES[number])
        guard.finish()
    except PolicyHalt:
        pass
    guard.close()
    return heard, read_lines(run_dir)


@pytest.mark.parametrize("count", range(1, 7))
def test_an_incident_is_on_record_from_signal_to_end_in_this_order(count: int, tmp_path: Path) -> None:
    bad = set(range(12, 12 + count))
    _, lines = run(tmp_path / "run", bad)
    actions = ["skip_batch", "skip_batch", "lower_lr", "reload_checkpoint", "reinitialize", "halt"][:count]
    incident = [line for line in lines if line["event"] in {*ORDER, "incident_closed", "run_halted"}]
    by_update = {update: [line for line in incident if line["update"] == update] for update in sorted(bad)}
    for index, (update, found) in enumerate(by_update.items()):
        names = [line["event"] for line in found if line["event"] != "signal"]
        opened = ["incident_opened"] if index == 0 else []
        ended = ["run_halted"] if actions[index] == "halt" else []
        assert names == [*opened, "decision", "action_applied", *ended]
        assert {line["event"] for line in found[: len(found) - len(names)]} == {"signal"}
        assert next(line["signal"] for line in found if line["event"] == "signal") == "nonfinite_loss"
        decision = next(line for line in found if line["event"] == "decision")
        applied = next(line for line in found if line["event"] == "action_applied")
        assert decision["action"] == applied["action"] == actions[index]
        assert decision["incident"] == applied["incident"] == 1
        assert decision["rung"] == ["skip_batch", "lower_lr", "reload_checkpoint", "reinitialize", "halt"].index(
            actions[index]
        )
        assert decision["reason"]
        assert update == decision["update"]
    last = incident[-1]
    if count == 6:
        assert last["event"] == "run_halted"
        assert lines[-1] == last
    else:
        assert last["event"] == "incident_closed"
        assert last["cured_by"] == actions[-1]
        assert last["update"] == max(bad) + 4
        assert lines[-1]["event"] == "run_finished"
    attempts = [line["attempt"] for line in incident if line["event"] == "decision"]
    assert attempts == [1, 2, 1, 1, 1, 1][:count]


def test_what_an_action_did_is_on_record(tmp_path: Path) -> None:
    _, lines = run(tmp_path / "run", set(range(12, 17)))
    applied = {line["action"]: line for line in lines if line["event"] == "action_applied"}
    assert applied["lower_lr"]["lr_scale"] == 0.5
    assert applied["reload_checkpoint"]["restored_step"] == 10
    assert applied["reinitialize"]["modules"] == ["outer"]
    assert all(line["seconds"] >= 0 for line in applied.values())


def test_every_line_is_strict_json_of_the_schema_and_says_what_was_heard(tmp_path: Path) -> None:
    heard, lines = run(tmp_path / "run", set(range(12, 18)))
    text = (tmp_path / "run" / "events" / "rank0.jsonl").read_text(encoding="utf-8")
    assert text.endswith("\n")
    assert "NaN" not in text
    assert "Infinity" not in text
    events = [parse_event(line) for line in text.splitlines()]
    assert not any(isinstance(event, OtherEvent) for event in events)
    assert [event.event for event in events] == [event.event for event in heard]
    for line in lines:
        assert line["schema"] == 1
        assert {"time", "event", "run_id", "rank", "step", "update"} <= line.keys()
        assert line["rank"] == 0
    loss = next(line["loss"] for line in lines if line["event"] == "signal" and line["signal"] == "nonfinite_loss")
    assert loss == "nan"


def test_the_incident_file_tells_the_same(tmp_path: Path) -> None:
    _, lines = run(tmp_path / "run", {12, 13, 14, 30})
    for number, outcome in ((1, "recovered"), (2, "recovered")):
        file = tmp_path / "run" / "incidents" / f"{number:04d}" / "incident.json"
        record = json.loads(file.read_text(encoding="utf-8"))
        decisions = [line for line in lines if line["event"] == "decision" and line["incident"] == number]
        assert record["id"] == number
        assert record["outcome"] == outcome
        assert [d["action"] for d in record["decisions"]] == [d["action"] for d in decisions]
        assert [d["reason"] for d in record["decisions"]] == [d["reason"] for d in decisions]
        closed = next(line for line in lines if line["event"] == "incident_closed" and line["incident"] == number)
        assert record["cost"]["steps_lost"] == closed["steps_lost"]
        assert record["opened_at_step"] == decisions[0]["step"]


def test_a_failed_action_is_on_record_with_the_decision_that_follows_it(tmp_path: Path) -> None:
    def broken(name: str, *_: Any) -> bool:
        raise ValueError("no initialiser today")

    _, lines = run(tmp_path / "run", set(range(12, 17)), reset_module=broken)
    last = [line for line in lines if line["update"] == 16 and line["event"] not in ("signal", "diagnosis")]
    names = [line["event"] for line in last]
    assert names[:4] == ["decision", "action_failed", "decision", "action_applied"]
    assert "run_halted" in names
    assert "no initialiser today" in last[1]["error"]
    assert [line["action"] for line in last[:4]] == ["reinitialize", "reinitialize", "halt", "halt"]


def test_an_exception_is_on_record_with_its_place(tmp_path: Path) -> None:
    training, heard = build(), EventList()

    def loss(batch: Any) -> Any:
        if guard.steps_done == 3:
            raise KeyError("label")
        return training.loss(batch)

    guard = guard_of(training, BATCHES, loss=loss, listeners=[heard], run_dir=tmp_path / "run")
    guard.run(6)
    signal = heard.named("signal")[0]
    assert signal.signal == "step_exception"
    assert "KeyError" in signal.exception
    assert Path(__file__).name in signal.where
    record = json.loads((tmp_path / "run" / "incidents" / "0001" / "incident.json").read_text(encoding="utf-8"))
    assert "KeyError" in record["traceback"]


def test_an_intervention_without_a_run_directory_is_heard_all_the_same() -> None:
    heard = EventList()
    guard = guard_of(build(), policy=POLICY, listeners=[heard])
    for number in range(20):
        guard.step(nan_batch(BATCHES[number]) if number == 12 else BATCHES[number])
    names = [event.event for event in heard if event.event in {*ORDER, "incident_closed"}]
    assert names == ["signal", "signal", "incident_opened", "decision", "action_applied", "incident_closed"]
    assert math.isnan(heard.named("signal")[0].loss)
