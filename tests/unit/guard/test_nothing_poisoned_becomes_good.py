"""Whatever rots, wherever in a step and in the intervals: no state that is held as good has it."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.exact import assert_finite
from support.training import EventList, Training, build, guard_of, healthy_batches, quiet
from torch import Tensor

from supervisor import Guard, InputError
from supervisor.training.tree import tensors

BATCHES = healthy_batches(14)

TARGETS: dict[str, Callable[[Training], Tensor]] = {
    "parameter": lambda training: training.model.inner.weight,  # type: ignore[union-attr,return-value]
    "buffer": lambda training: training.model.norm.running_mean,  # type: ignore[union-attr,return-value]
    "moment": lambda training: training.optimizer.state[training.model.outer.bias]["exp_avg_sq"],  # type: ignore[union-attr,index]
    "registered": lambda training: training.extra_state["average"].shadow["outer.weight"],
    "rate": lambda training: training.optimizer.param_groups[0]["lr"],
}
SIGNALS = {
    "parameter": ("nonfinite_parameter", "inner.weight"),
    "buffer": ("nonfinite_parameter", "norm.running_mean"),
    "moment": ("nonfinite_optimizer_state", "outer.bias.exp_avg_sq"),
    "registered": ("nonfinite_parameter", "extra_state.average.shadow.outer.weight"),
    "rate": ("nonfinite_optimizer_state", "param_groups.0.lr"),
}


def fresh() -> Training:
    training = build(average=True)
    training.optimizer = torch.optim.Adam(training.model.parameters(), lr=torch.tensor(0.01))
    return training


def poison(training: Training, target: str, value: float) -> None:
    with torch.no_grad():
        TARGETS[target](training).view(-1)[0] = value


def held_as_good(guard: Guard, *, on_disk: bool) -> list[tuple[str, Any]]:
    """The content of every state that a reload could go back to."""
    states = guard.parts.states
    if on_disk:
        return [(f"{source} {kept.step}", moment.training.to_tree()) for kept, moment, source in states.newest_good()]
    return [(f"memory {kept.step}", point.training.to_tree()) for kept, point in states.memory if kept.good]


def assert_all_finite(guard: Guard, *, on_disk: bool = True) -> None:
    held = held_as_good(guard, on_disk=on_disk)
    assert held
    for where, tree in held:
        for path, tensor in tensors(tree):
            if tensor.is_floating_point():
                assert torch.isfinite(tensor).all(), f"{where}: {path}"
        assert all(math.isfinite(group["lr"]) for group in tree["optimizer"]["groups"]), where


@settings(max_examples=20, deadline=None)
@given(
    target=st.sampled_from(list(TARGETS)),
    within=st.booleans(),
    at=st.integers(1, 12),
    value=st.sampled_from([math.nan, math.inf, -math.inf]),
    state_every=st.integers(1, 7),
    snapshot_every=st.integers(1, 5),
    checkpoint_every=st.integers(1, 5),
    probation=st.integers(0, 3),
)
def test_no_state_that_is_poisoned_becomes_good(
    target: str,
    within: bool,
    at: int,
    value: float,
    state_every: int,
    snapshot_every: int,
    checkpoint_every: int,
    probation: int,
) -> None:
    training, heard = fresh(), EventList()
    updates = []

    def inside(*_: Any) -> None:
        updates.append(None)
        if within and len(updates) == at:
            poison(training, target, value)

    training.optimizer.register_step_post_hook(inside)
    policy = quiet(
        detect={"state_every_steps": state_every},
        snapshot={"every_steps": snapshot_every, "keep": 2},
        checkpoint={"every_steps": checkpoint_every, "keep": 2},
        probation_steps=probation,
        ladder=[{"action": "reload_checkpoint"}],
    )
    with tempfile.TemporaryDirectory() as directory:
        guard = guard_of(training, BATCHES, policy=policy, listeners=[heard], run_dir=Path(directory) / "run")
        promoted = 0
        for done, batch in enumerate(guard.batches(len(BATCHES)), start=1):
            guard.step(batch)
            if not within and done == at:
                poison(training, target, value)
            # What is on the disk is read again whenever something there became good.
            news = len(heard.named("checkpoint_promoted")) > promoted
            promoted = len(heard.named("checkpoint_promoted"))
            assert_all_finite(guard, on_disk=news)
        assert_all_finite(guard)
        guard.close()
    assert heard.actions() == ["reload_checkpoint"]
    # A state check may come after the poison has spread; what is named is what was found then.
    assert {str(event.signal) for event in heard.named("signal")} <= {name for name, _ in SIGNALS.values()} | {
        "nonfinite_loss",
        "nonfinite_gradient",
        "nonfinite_buffer",
    }
    assert_finite(training)


@pytest.mark.parametrize("target", TARGETS)
def test_what_rots_is_found_under_its_name_and_put_back(target: str) -> None:
    training, heard = fresh(), EventList()
    policy = quiet(detect={"state_every_steps": 1}, snapshot={"every_steps": 2}, probation_steps=1)
    guard = guard_of(training, policy=policy, listeners=[heard])
    for batch in BATCHES[:6]:
        assert guard.step(batch).applied
    training.optimizer.register_step_post_hook(lambda *_: poison(training, target, math.nan))
    outcome = guard.step(BATCHES[6])
    signal, name = SIGNALS[target]
    assert [(str(each.name), each.details["tensors"]) for each in outcome.signals] == [(signal, (name,))]
    assert outcome.action == "reload_checkpoint"
    assert torch.isfinite(TARGETS[target](training)).all()


def test_a_rate_that_is_a_number_and_turns_nan_is_in_no_state() -> None:
    training, heard = build(), EventList()
    policy = quiet(detect={"state_every_steps": 1}, snapshot={"every_steps": 1}, probation_steps=0)
    guard = guard_of(training, policy=policy, listeners=[heard])
    guard.step(BATCHES[0])

    def spoil(*_: Any) -> None:
        # As a schedule with a division by zero does, after the weights have moved.
        training.optimizer.param_groups[0]["lr"] = math.nan

    training.optimizer.register_step_post_hook(spoil)
    guard.step(BATCHES[1])
    assert heard.named("signal")[0].tensors == ("param_groups.0.lr",)
    assert training.optimizer.param_groups[0]["lr"] == 0.01
    assert_all_finite(guard)


class Scores:
    """Best loss so far, infinite until there is one; and a number that may be anything."""

    def __init__(self) -> None:
        self.best = torch.tensor([math.inf, 1.0])
        self.last = math.nan

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "last": self.last}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.best, self.last = state["best"].clone(), state["last"]


def test_registered_values_that_were_infinite_from_the_start_are_exempt_and_their_neighbours_are_not() -> None:
    training, heard = build(), EventList()
    scores = training.extra_state["scores"] = Scores()
    policy = quiet(detect={"state_every_steps": 1}, snapshot={"every_steps": 1}, probation_steps=1)
    guard = guard_of(training, policy=policy, listeners=[heard])
    for batch in BATCHES[:4]:
        assert guard.step(batch).applied
    assert heard.named("buffer_exempt")[0].buffers == ("extra_state.scores.best",)
    scores.best[1] = math.nan
    outcome = guard.step(BATCHES[4])
    assert outcome.signals[0].details["tensors"] == ("extra_state.scores.best",)
    assert torch.equal(scores.best, torch.tensor([math.inf, 1.0]))
    assert guard.step(BATCHES[5]).applied


@pytest.mark.parametrize("target", ["moment", "registered"])
def test_a_run_does_not_begin_with_it(target: str) -> None:
    training = fresh()
    guard = guard_of(training)
    training.loss(BATCHES[0]).backward()  # type: ignore[no-untyped-call]
    training.optimizer.step()
    poison(training, target, math.nan)
    with pytest.raises(InputError, match=SIGNALS[target][1].replace(".", r"\.")):
        guard.step(BATCHES[0])
