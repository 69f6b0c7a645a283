"""A run of version 0.1, stopped amid an incident, goes on here bit for bit.

`tests/fixtures/run_of_version_0_1.tar.gz` is its run directory: checkpoints after 10 and 15 of 25 steps, the event log
and the incident that was open, with a cut of the learning rate in force.
"""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from typing import Any

import torch
from support.exact import assert_same, everything
from support.training import EventList, Training, build, guard_of, healthy_batches, nan_batch

from supervisor.training.rng import restore_rng

FIXTURE = Path(__file__).resolve().parents[2] / "fixtures" / "run_of_version_0_1.tar.gz"
# That version climbed by counting alone.
POLICY = {
    "experiments": None,
    "detect": {"spike": {"window_updates": 16, "warmup_updates": 4}, "state_every_steps": 4},
    "snapshot": {"every_steps": 3},
    "checkpoint": {"every_steps": 5, "keep": 2},
    "probation_steps": 2,
    "cooldown_steps": 6,
    "ladder": [
        {"action": "skip_batch", "attempts": 1},
        {"action": "lower_lr", "attempts": 1, "factor": 0.5, "restore_after_steps": 50},
        {"action": "reload_checkpoint"},
    ],
}


def batches() -> list[Any]:
    bad = (8, 12, 18, 20)
    return [nan_batch(batch) if number in bad else batch for number, batch in enumerate(healthy_batches(30))]


def fresh(seed: int) -> Training:
    return build(seed=seed, scheduler="cosine", draws=True, average=True)


def test_it_goes_on_as_that_version_did(tmp_path: Path) -> None:
    with tarfile.open(FIXTURE) as archive:
        archive.extractall(tmp_path, filter="data")
    run_dir = tmp_path / "run"
    tree = torch.load(run_dir / "checkpoints" / "step-00000015" / "state.pt", weights_only=True)
    training, heard = fresh(5), EventList()
    guard = guard_of(training, batches(), policy=POLICY, run_dir=run_dir, resume=True, listeners=[heard])
    # What the detectors had seen, and where the run stood.
    resumed = guard.parts.detectors.state_dict()
    assert {name: resumed[name] for name in tree["panel"]} == tree["panel"]
    incident = guard.parts.ledger.incident
    assert incident is not None
    assert (incident.id, incident.opened_at_step, incident.steps_lost) == (1, 8, 2)
    assert [decision.action for decision in incident.decisions] == ["skip_batch", "lower_lr"]
    assert [cause.samples for cause in incident.causes] == [(2,), (2,)]
    assert (guard.steps_done, guard.updates_attempted, guard.batches_drawn) == (15, 15, 15)
    assert guard.parts.ledger.lr_scale == 0.5
    summary = guard.run(25)
    guard.close()

    # What version 0.1 did with the same two bad batches that were to come.
    assert [(event.update, str(event.action), event.restored_step) for event in heard.named("action_applied")] == [
        (18, "reload_checkpoint", 15),
        (20, "reload_checkpoint", 15),
    ]
    (closed,) = heard.named("incident_closed")
    assert (closed.update, closed.cured_by, closed.steps_lost) == (26, "reload_checkpoint", 8)
    assert (summary.applied_steps, summary.skipped_steps, summary.incidents) == (23, 4, 1)
    record = json.loads((run_dir / "incidents" / "0001" / "incident.json").read_text(encoding="utf-8"))
    assert [decision["action"] for decision in record["decisions"]] == [
        "skip_batch",
        "lower_lr",
        "reload_checkpoint",
        "reload_checkpoint",
    ]

    # The second reload goes back to the checkpoint itself: from there a loop without a guard gives the same bits.
    plain = fresh(6)
    by_hand(plain, tree["moment"]["training"], [*batches()[21:], batches()[0]])
    assert_same(everything(training), everything(plain))


def by_hand(training: Training, state: dict[str, Any], coming: list[Any]) -> None:
    model, optimizer = training.model, training.optimizer
    names = [name for name, _ in model.named_parameters()]
    model.load_state_dict({**state["parameters"], **state["buffers"]})
    groups = [
        {**group, "params": [names.index(name) for name in group["params"]]} for group in state["optimizer"]["groups"]
    ]
    moments = {names.index(name): held for name, held in state["optimizer"]["state"].items()}
    optimizer.load_state_dict({"state": moments, "param_groups": groups})
    assert training.scheduler is not None
    training.scheduler.load_state_dict(state["scheduler"]["0"])
    training.extra_state["average"].load_state_dict(state["extra"]["average"])
    restore_rng(state["rng"])
    for number, batch in enumerate(coming):
        optimizer.zero_grad()
        training.loss(batch).backward()  # type: ignore[no-untyped-call]
        # The incident closes after six healthy steps, and takes its cut of the rate back.
        nominal = optimizer.param_groups[0]["lr"]
        optimizer.param_groups[0]["lr"] = nominal * (0.5 if number < 6 else 1.0)
        optimizer.step()
        optimizer.param_groups[0]["lr"] = nominal
        training.scheduler.step()
    optimizer.zero_grad()
