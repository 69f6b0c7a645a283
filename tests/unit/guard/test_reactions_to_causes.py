"""What a diagnosis changes about the recovery."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from support.exact import assert_same, everything
from support.training import EventList, Net, build, guard_of, healthy_batches, nan_batch, quiet
from torch import Tensor

from supervisor.errors import InputError

BATCHES = healthy_batches(20)


class Glitch:
    """A loss that is NaN the first time that a batch comes, and never again."""

    def __init__(self, training: Any, at: set[int]) -> None:
        self._training = training
        self._at = at

    def __call__(self, batch: Any) -> Tensor:
        loss: Tensor = self._training.loss(batch)
        number = next(index for index, each in enumerate(BATCHES) if each is batch)
        if number in self._at:
            self._at.remove(number)
            return loss * math.nan
        return loss


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_step_that_cannot_be_reproduced_is_tried_again(accumulate: int) -> None:
    plain = build(draws=True)
    for first in range(0, 20, accumulate):
        plain.optimizer.zero_grad()
        for batch in BATCHES[first : first + accumulate]:
            (plain.loss(batch) / accumulate).backward()
        plain.optimizer.step()
    training, heard = build(draws=True), EventList()
    policy = quiet(reactions={"not_reproducible": "retry"})
    guard = guard_of(
        training, BATCHES, loss=Glitch(training, {7}), policy=policy, accumulate=accumulate, listeners=[heard]
    )
    summary = guard.run(20 // accumulate + 1)
    assert summary.applied_steps == 20 // accumulate
    assert [event.retry for event in heard.named("decision")] == [True]
    assert [str(event.kind) for event in heard.named("diagnosis")] == ["not_reproducible"]
    assert_same(everything(training), everything(plain))


def test_a_batch_that_was_tried_again_survives_a_resume(tmp_path: Path) -> None:
    expected = build(draws=True)
    guard_of(expected, BATCHES, policy=quiet()).run(19)
    policy = quiet(reactions={"not_reproducible": "retry"}, checkpoint={"every_steps": 8})
    training = build(draws=True)
    guard = guard_of(training, BATCHES, loss=Glitch(training, {7}), policy=policy, run_dir=tmp_path / "run")
    guard.run(8)  # ends with the batch put back
    guard.close()
    other = build(seed=3, draws=True)
    guard_of(other, BATCHES, policy=policy, run_dir=tmp_path / "run", resume=True).run(20)
    assert_same(everything(other), everything(expected))


def test_by_default_it_is_skipped_like_any_other() -> None:
    training, heard = build(), EventList()
    guard = guard_of(training, BATCHES, loss=Glitch(training, {7}), listeners=[heard])
    assert guard.run(20).applied_steps == 19
    assert [(str(event.action), event.retry) for event in heard.named("decision")] == [("skip_batch", False)]


def test_retry_is_for_what_could_not_be_reproduced() -> None:
    with pytest.raises(InputError, match=r"reactions\.bad_input: bad_input would only come again"):
        guard_of(build(), policy={"reactions": {"bad_input": "retry"}})


def test_the_reaction_to_a_cause_raises_the_ladder() -> None:
    training, heard = build(), EventList()
    batches = [nan_batch(b) if number == 5 else b for number, b in enumerate(BATCHES)]
    guard_of(training, batches, policy=quiet(reactions={"bad_input": "lower_lr"}), listeners=[heard]).run(8)
    assert heard.actions() == ["lower_lr"]
    assert "the reaction to bad_input" in heard.named("decision")[0].reason


def test_auto_redraws_the_module_that_is_blamed() -> None:
    training, heard = build(), EventList()
    ladder = [{"action": "reinitialize", "modules": "auto"}]
    guard = guard_of(training, BATCHES, policy=quiet(ladder=ladder, probation_steps=1), listeners=[heard])
    steps = guard.batches(10)
    for _ in range(4):
        guard.step(next(steps))
    with torch.no_grad():
        training.model.outer.weight.fill_(3e38)  # type: ignore[union-attr, operator]
        training.model.outer.bias.fill_(3e38)  # type: ignore[union-attr, operator]
    guard.step(next(steps))
    assert [event.modules for event in heard.named("action_applied")] == [("outer",)]


def test_the_cause_and_its_bundle_lie_in_the_incidents_folder(tmp_path: Path) -> None:
    training = build(average=True)
    batches = [nan_batch(b) if number == 5 else b for number, b in enumerate(BATCHES)]
    guard = guard_of(training, batches, run_dir=tmp_path / "run", policy=quiet(cooldown_steps=3))
    guard.run(12)
    guard.close()
    folder = tmp_path / "run" / "incidents" / "0001"
    record = json.loads((folder / "incident.json").read_text(encoding="utf-8"))
    assert record["outcome"] == "recovered"
    assert (record["cause"]["kind"], record["cause"]["samples"]) == ("bad_input", [2])
    assert (record["cause"]["batch_number"], record["cause"]["module"]) == (5, "inner")
    assert record["bundle"] == {"batch": "batch.pt", "state": "state.pt", "update_applied": False, "note": None}
    batch = torch.load(folder / "batch.pt", weights_only=True)
    assert torch.equal(batch[0][0].isnan(), batches[5][0].isnan())
    state = torch.load(folder / "state.pt", weights_only=True)
    plain = build(average=True)
    guard_of(plain, BATCHES).run(5)
    assert_same({"parameters": state["parameters"]}, {"parameters": everything(plain)["parameters"]})
    assert torch.equal(state["rng"]["torch"], everything(plain)["rng"]["torch"])
    assert set(state["optimizer"]["state"]) == set(state["parameters"])


def test_a_bundle_that_is_too_large_is_left_out_in_part(tmp_path: Path) -> None:
    training = build(model=lambda: torch.nn.Sequential(Net(), torch.nn.Linear(3, 300_000), torch.nn.Linear(300_000, 3)))
    batches = [nan_batch(b) if number == 1 else b for number, b in enumerate(BATCHES)]
    policy = quiet(diagnose={"max_bundle_mb": 5}, checkpoint={"every_steps": 1000})
    guard = guard_of(training, batches, run_dir=tmp_path / "run", policy=policy)
    guard.run(2)
    guard.close()
    folder = tmp_path / "run" / "incidents" / "0001"
    record = json.loads((folder / "incident.json").read_text(encoding="utf-8"))
    assert record["bundle"]["batch"] == "batch.pt"
    assert record["bundle"]["state"] is None
    assert "state.pt would take 8." in record["bundle"]["note"]
    assert sorted(path.name for path in folder.iterdir()) == ["batch.pt", "incident.json"]


def test_old_incidents_lose_their_bundle_and_keep_their_record(tmp_path: Path) -> None:
    training = build()
    batches = [nan_batch(b) if number in (2, 6, 10) else b for number, b in enumerate(BATCHES)]
    policy = quiet(diagnose={"keep_bundles": 2}, cooldown_steps=1)
    guard = guard_of(training, batches, run_dir=tmp_path / "run", policy=policy)
    guard.run(12)
    guard.close()
    held = {path.name: sorted(file.name for file in path.iterdir()) for path in (tmp_path / "run/incidents").iterdir()}
    whole = ["batch.pt", "incident.json", "state.pt"]
    assert held == {"0001": ["incident.json"], "0002": whole, "0003": whole}
