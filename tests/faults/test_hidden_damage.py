"""Acceptance: damage behind a sanitiser is found, and no state that holds it ever becomes good."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from support.exact import assert_finite
from support.training import EventList, Training, build, guard_of, healthy_batches, quiet
from torch import Tensor, nn

BATCHES = healthy_batches(120)


class BehindInput(nn.Module):
    """A first layer whose NaN is replaced, so that neither the loss nor any gradient shows it."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(6, 16)
        self.gru = nn.GRU(16, 8, batch_first=True)
        self.last = nn.Linear(8, 3)
        self.dead = nn.Parameter(torch.ones(4))

    def forward(self, x_BF: Tensor) -> Tensor:
        # What is bad is cut out of the graph, and so are its gradients.
        inner = self.first(x_BF)
        bad = torch.isnan(self.first.weight).any()
        inner = torch.zeros_like(inner) if bad else inner
        outputs, _ = self.gru(inner.unsqueeze(1))
        logits: Tensor = self.last(torch.nan_to_num(outputs[:, 0]))
        return logits + 0 * self.dead.detach().nan_to_num().sum()


def good_checkpoints(run_dir: Path) -> list[dict[str, Any]]:
    marked = sorted((run_dir / "checkpoints").glob("step-*/good.json"))
    assert marked
    return [torch.load(path.parent / "state.pt", weights_only=True)["moment"]["training"] for path in marked]


def good_snapshots(guard: Any) -> list[dict[str, Any]]:
    return [point.training.to_tree() for kept, point in guard.parts.states.memory if kept.good]


def assert_finite_states(states: list[dict[str, Any]]) -> None:
    for state in states:
        for name, tensor in {**state["parameters"], **state["buffers"]}.items():
            assert torch.isfinite(tensor).all(), name
        for moments in state["optimizer"]["state"].values():
            assert all(torch.isfinite(v).all() for v in moments.values() if isinstance(v, Tensor))


def assert_good_states_are_finite(guard: Any, run_dir: Path) -> None:
    """In memory and on disk, where every good one is still there."""
    assert_finite_states([*good_checkpoints(run_dir), *good_snapshots(guard)])


def poison(parameter: Tensor) -> None:
    with torch.no_grad():
        parameter.view(-1)[0] = math.nan


def guarded(training: Training, run_dir: Path, heard: EventList, **detect: Any) -> Any:
    policy = quiet(
        detect=detect,
        snapshot={"every_steps": 3, "keep": 3},
        checkpoint={"every_steps": 4, "keep": 50},
        probation_steps=1,
        cooldown_steps=5,
    )
    return guard_of(training, policy=policy, run_dir=run_dir, listeners=[heard])


def test_a_gru_weight_behind_a_sanitiser_is_named_in_the_same_step(tmp_path: Path) -> None:
    training, heard = build(model=BehindInput), EventList()
    guard = guarded(training, tmp_path / "run", heard)
    for number in range(25):
        if number == 13:
            poison(training.model.gru.weight_hh_l0)  # type: ignore[union-attr,arg-type]
        outcome = guard.step(BATCHES[number])
        if number == 13:
            assert math.isfinite(outcome.loss)
            assert next(str(signal.name) for signal in outcome.signals) == "nonfinite_parameter"
            assert "gru.weight_hh_l0" in outcome.signals[0].details["tensors"]
            assert outcome.action == "reload_checkpoint"
            assert_finite(training)
        else:
            assert outcome.applied
        assert_finite_states(good_snapshots(guard))
    assert_good_states_are_finite(guard, tmp_path / "run")


@pytest.mark.parametrize("every", [1, 5, 10])
@pytest.mark.parametrize("at", [11, 17])
@pytest.mark.parametrize("target", ["first.weight", "dead"])
def test_a_weight_that_shows_in_neither_loss_nor_gradients_is_found_in_time(
    target: str, at: int, every: int, tmp_path: Path
) -> None:
    training, heard = build(model=BehindInput), EventList()
    guard = guarded(training, tmp_path / "run", heard, state_every_steps=every)
    found = None
    for number in range(45):
        if number == at:
            poison(dict(training.model.named_parameters())[target])
        outcome = guard.step(BATCHES[number])
        assert math.isfinite(outcome.loss)
        assert math.isfinite(outcome.grad_norm)
        if not outcome.applied:
            assert found is None
            found = number
            assert [str(signal.name) for signal in outcome.signals] == ["nonfinite_parameter"]
            assert target in outcome.signals[0].details["tensors"]
            assert outcome.action == "reload_checkpoint"
            assert_finite(training)
        assert_finite_states(good_snapshots(guard))
    assert_good_states_are_finite(guard, tmp_path / "run")
    assert found is not None
    assert at <= found < at + every
    assert_finite(training)


def test_one_that_comes_just_before_the_end_is_found_before_the_run_finishes(tmp_path: Path) -> None:
    training, heard = build(model=BehindInput), EventList()

    def loss(batch: Any) -> Tensor:
        if guard.batches_drawn == 37:
            poison(training.model.dead)  # type: ignore[arg-type]
        return training.loss(batch)

    policy = quiet(detect={"state_every_steps": 1000}, snapshot={"every_steps": 1000}, checkpoint={"every_steps": 1000})
    guard = guard_of(training, BATCHES, loss=loss, policy=policy, run_dir=tmp_path / "run", listeners=[heard])
    summary = guard.run(37)
    assert summary.status == "finished"
    assert heard.actions() == ["reload_checkpoint"]
    assert_finite(training)
    assert_good_states_are_finite(guard, tmp_path / "run")


def test_moments_that_rot_alone_are_found_and_named(tmp_path: Path) -> None:
    training, heard = build(), EventList()
    guard = guarded(training, tmp_path / "run", heard, state_every_steps=5)
    for number in range(30):
        if number == 12:
            # The step counter of the moments alone is finite; a scheduler or a bug may write anything here.
            state = training.optimizer.state[training.model.outer.weight]  # type: ignore[union-attr,index]
            state["exp_avg_sq"].view(-1)[0] = math.inf
        outcome = guard.step(BATCHES[number])
        if not outcome.applied:
            assert 12 <= number < 17
            assert str(outcome.signals[0].name) == "nonfinite_optimizer_state"
            assert "outer.weight.exp_avg_sq" in outcome.signals[0].details["tensors"]
            assert outcome.action == "reload_checkpoint"
        assert_finite_states(good_snapshots(guard))
    assert_good_states_are_finite(guard, tmp_path / "run")
    assert heard.actions() == ["reload_checkpoint"]
    assert_finite(training)
