"""What a rehearsal is scored by: logs of real guarded runs, and hand-written ones of what processes and disks do."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console
from support.logs import Log, record, script
from support.training import build, healthy_batches

from supervisor import Guard
from supervisor.events import read_events, schema
from supervisor.faults import FaultInjector
from supervisor.rehearsal import Score, render_score, score, score_run

BATCHES = healthy_batches(80)
POLICY = {
    # What goes wrong beside the faults would spoil a canary too.
    "experiments": None,
    "detect": {"spike": None, "state_every_steps": 5},
    "cooldown_steps": 4,
    "snapshot": {"every_steps": 5},
    "checkpoint": {"every_steps": 20},
    "probation_steps": 2,
}


def rehearsed(run_dir: Path, *faults: dict[str, Any], steps: int = 70, ladder: Any = None, spoil: int = -1) -> Score:
    """The score of a guarded run with these faults; at update `spoil` something goes wrong that is none of them."""
    training = build()

    def loss(batch: Any) -> Any:
        value = training.loss(batch)
        return value * float("nan") if guard.updates_attempted - 1 == spoil else value

    trainer: Any = SimpleNamespace(model=training.model, optimizer=training.optimizer, data=BATCHES, loss=loss)
    injector = FaultInjector(script(*faults), trainer, run_dir=run_dir)
    guard = Guard(
        model=training.model,
        optimizer=training.optimizer,
        loss=injector.loss,
        data=injector.data,
        policy={**POLICY, **({} if ladder is None else {"ladder": ladder})},
        run_dir=run_dir,
    )
    injector.batches_drawn = lambda: guard.batches_drawn
    injector.position = lambda: (guard.steps_done, guard.updates_attempted - 1)
    guard.run(steps)
    guard.close()
    return score_run(run_dir, script(*faults))


def test_each_fault_of_a_run_is_told_apart(tmp_path: Path) -> None:
    found = rehearsed(
        tmp_path,
        {"kind": "nan_batch", "at_batch": 10, "batches": 2},
        {"kind": "nan_weight", "at_batch": 33},
        {"kind": "nan_optimizer_state", "at_batch": 52},
        {"kind": "forward_exception", "at_batch": 70},
        {"kind": "nan_gradient", "at_batch": 5000},
    )
    batch, weight, moments, exception, never = found.faults
    assert (batch.strikes, batch.detected, batch.steps_lost) == (2, 2, 2)
    assert batch.findings == {"nonfinite_loss": 2}
    assert batch.cured_by == {"skip_batch": 2}
    # Back from step 33 to the snapshot of step 30, which had seen its two healthy steps.
    assert (weight.findings, weight.cured_by) == ({"nonfinite_parameter": 1}, {"reload_checkpoint": 1})
    assert weight.steps_lost == 1 + 3
    (strike,) = [one for one in found.each if one.kind == "nan_optimizer_state"]
    assert (strike.batch, strike.target) == (52, "inner.weight.exp_avg_sq")
    assert strike.detected == "nonfinite_optimizer_state"
    assert strike.delay_steps in range(1, 6)
    assert moments.longest_delay_steps == strike.delay_steps
    assert exception.findings == {"step_exception": 1}
    assert (never.strikes, never.detected, never.seconds_lost) == (0, 0, 0.0)
    assert (found.strikes, found.detected, found.unexplained) == (5, 5, 0)
    assert found.steps_lost == sum(fault.steps_lost for fault in found.faults)
    assert found.rehearsal.status == "finished"
    assert found.rehearsal.ettr is not None
    assert 0 < found.rehearsal.ettr < 1


def test_what_belongs_to_no_fault_is_a_false_alarm(tmp_path: Path) -> None:
    found = rehearsed(tmp_path, {"kind": "nan_gradient", "at_batch": 10}, spoil=40)
    assert (found.strikes, found.detected, found.unexplained) == (1, 1, 1)
    assert found.steps_lost == 1


def test_consequences_belong_to_the_fault_of_their_incident(tmp_path: Path) -> None:
    found = rehearsed(tmp_path, {"kind": "nan_gradient", "at_batch": 10}, spoil=12)
    assert (found.detected, found.unexplained, found.steps_lost) == (1, 0, 2)


def test_a_halt_is_scored_too(tmp_path: Path) -> None:
    found = rehearsed(tmp_path, {"kind": "nan_batch", "at_batch": 10}, ladder=[{"action": "halt"}])
    assert found.rehearsal.status == "halted"
    assert found.faults[0].cured_by == {"halt": 1}


def test_a_fault_that_nothing_finds_is_missed(tmp_path: Path) -> None:
    """A rate ten times too high, and no detector of spikes."""
    found = rehearsed(tmp_path, {"kind": "lr_spike", "at_batch": 10, "factor": 10.0, "batches": 1})
    assert (found.strikes, found.detected) == (1, 0)
    assert found.each[0].cured_by is None
    console = Console(width=120, record=True, force_terminal=False)
    console.print(render_score(found))
    assert "missed" in console.export_text()


# What processes and disks do, as their logs tell it.


def test_a_killed_worker_costs_the_way_back_to_the_checkpoint_and_the_restart() -> None:
    log = Log()
    log.dies(30.5, "killed")
    log.resumes(34, 200)
    log.ends(101, 1000, useful=50.0)
    found = score(script({"kind": "kill_worker", "at_batch": 290}), [record(0, "kill_worker", 290, 30)], log.events)
    (strike,) = found.each
    assert (strike.detected, strike.cured_by, strike.steps_lost) == ("worker_exited", "restart", 90)
    assert strike.delay_steps is None
    assert strike.delay_seconds == pytest.approx(0.5)
    # 90 steps of 50 seconds over 1,000, and the four seconds until the next worker went on.
    assert strike.seconds_lost == pytest.approx(90 * 0.05 + 4)
    assert found.rehearsal.wall_seconds == pytest.approx(101) == found.rehearsal.account.seconds
    assert found.rehearsal.ettr == pytest.approx(50 / 101)
    assert found.rehearsal.account.wasted == pytest.approx(30.5), "no checkpoint of it is in the log"
    assert found.rehearsal.account.down == pytest.approx(3.5)
    assert found.rehearsal.metrics == {"mrr": 0.5}


def test_a_damaged_checkpoint_pays_for_the_way_back_behind_it() -> None:
    log = Log()
    log.dies(30.5, "killed")
    path = "checkpoints/step-00000200"
    log.add(33, schema.CheckpointRejectedEvent, checkpoint_step=200, path=path, reason="torn")
    log.resumes(34, 0)
    log.ends(101, 1000, useful=50.0)
    faults = script({"kind": "corrupt_checkpoint", "at_batch": 285}, {"kind": "kill_worker", "at_batch": 290})
    records = [record(0, "corrupt_checkpoint", 285, 29, path), record(1, "kill_worker", 290, 30)]
    damage, death = score(faults, records, log.events).each
    assert (damage.detected, damage.cured_by, damage.steps_lost) == ("checkpoint_rejected", "older checkpoint", 200)
    assert (death.cured_by, death.steps_lost) == ("restart", 90)


def test_a_checkpoint_that_was_abandoned_was_not_found_damaged() -> None:
    log = Log()
    path = "checkpoints/step-00000200"
    log.add(
        40, schema.CheckpointRejectedEvent, checkpoint_step=200, path=path, reason="abandoned: the run went back to 3"
    )
    faults = script({"kind": "corrupt_checkpoint", "at_batch": 285})
    assert score(faults, [record(0, "corrupt_checkpoint", 285, 29, path)], log.events).detected == 0


def test_a_hang_is_found_by_the_stall_and_not_by_a_later_death() -> None:
    log = Log()
    faults = script({"kind": "hang", "at_batch": 50}, {"kind": "kill_worker", "at_batch": 90})
    log.add(15, schema.WorkerStalledEvent, rank=None, pid=7, seconds=5.0)
    log.dies(20, "stalled")
    log.resumes(23, 40)
    log.dies(30, "killed")
    log.resumes(33, 80)
    hang, death = score(faults, [record(0, "hang", 50, 10), record(1, "kill_worker", 90, 29)], log.events).each
    assert (hang.detected, hang.steps_lost, hang.delay_seconds) == ("worker_stalled", 10, 5.0)
    assert (death.detected, death.steps_lost, death.delay_seconds) == ("worker_exited", 10, 1.0)


def test_a_stall_of_the_next_worker_is_not_of_the_one_before() -> None:
    log = Log()
    log.resumes(12, 40)
    log.add(30, schema.WorkerStalledEvent, rank=None, pid=8, seconds=5.0)
    assert score(script({"kind": "hang", "at_batch": 50}), [record(0, "hang", 50, 10)], log.events).detected == 0


def test_a_finding_in_another_life_of_the_worker_is_not_of_this_one() -> None:
    """Update 52 comes again after the restart, with a NaN of its own."""
    log = Log()
    log.dies(20, "killed")
    log.resumes(23, 40)
    log.add(30, schema.SignalEvent, step=52, update=52, signal="nonfinite_gradient")
    log.add(30, schema.IncidentOpenedEvent, step=52, update=52, incident=1, signals=("nonfinite_gradient",))
    log.add(
        30, schema.DecisionEvent, step=52, update=52, incident=1, rung=0, action="skip_batch", attempt=1, reason="x"
    )
    faults = script({"kind": "nan_gradient", "at_batch": 52})
    found = score(faults, [record(0, "nan_gradient", 52, 10)], log.events)
    assert (found.detected, found.unexplained) == (0, 1)


def test_a_diagnosis_is_right_or_wrong_or_there_is_none() -> None:
    faults = script(*({"kind": "nan_batch", "at_batch": n} for n in (10, 20, 30)))
    log = Log()
    for number, (step, kind) in enumerate(((10, "bad_input"), (20, "loss_function"), (30, None)), start=1):
        place = {"step": step, "update": step}
        log.add(step, schema.SignalEvent, signal="nonfinite_loss", **place)
        log.add(step, schema.IncidentOpenedEvent, incident=number, **place)
        if kind is not None:
            log.add(step, schema.DiagnosisEvent, incident=number, kind=kind, explanation="x", seconds=0.25, **place)
        log.add(
            step, schema.DecisionEvent, incident=number, rung=0, action="skip_batch", attempt=1, reason="x", **place
        )
    found = score(faults, [record(i, "nan_batch", n, n - 1) for i, n in enumerate((10, 20, 30))], log.events)
    assert [one.diagnosed_right for one in found.each] == [True, False, None]
    assert [one.cause for one in found.each] == ["bad_input", "loss_function", None]
    assert (found.diagnosed, found.diagnosed_right) == (2, 1)
    assert found.each[0].seconds_lost >= 0.25


def json_of(line: dict[str, Any]) -> bytes:
    return json.dumps(line).encode() + b"\n"


def test_void_lines_count_for_what_happened_and_not_for_what_the_run_came_to(tmp_path: Path) -> None:
    """A fault is found, then its updates are lost with the process: it was found all the same."""
    rehearsed(tmp_path, {"kind": "nan_gradient", "at_batch": 45}, steps=50)
    log = tmp_path / "events" / "rank0.jsonl"
    lines = log.read_text().splitlines()
    resumed = {**stamps_of(lines[-1]), "event": "run_resumed", "step": 40, "update": 40, "checkpoint_step": 40}
    log.write_text("\n".join([*lines, json_of(resumed).decode().strip()]) + "\n")
    assert not [event for event in read_events(tmp_path) if event.event == "signal"]
    assert score_run(tmp_path, script({"kind": "nan_gradient", "at_batch": 45})).detected == 1


def stamps_of(text: str) -> dict[str, Any]:
    line: dict[str, Any] = json.loads(text)
    return {key: line[key] for key in ("schema", "time", "run_id", "rank")}
