"""Forks, the loss of zeros, canaries and trials leave no trace, whatever the training is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from support.exact import assert_same, seed_all
from support.parts import Parts, log_to
from support.traces import all_of
from support.training import MovingAverage, Net, healthy_batches, nan_batch
from torch import nn

from supervisor.experiments import (
    CuresInForce,
    Examining,
    Experimenter,
    Forks,
    PassBudget,
    RecentCanaries,
    Tools,
    zero_output_losses,
)
from supervisor.experiments.fork import Stopped
from supervisor.policy import Cure, load_policy
from supervisor.signals import Detectors
from supervisor.testing.clock import FakeClock
from supervisor.testing.events import EventList
from supervisor.training.data_position import DataPosition
from supervisor.training.optimizers import members
from supervisor.training.schedule import Schedule
from supervisor.training.tree import clone, mapped
from supervisor.update import Attempt, Place, UpdateSettings

CURES = [None, Cure(clip=0.1), Cure(lr=0.01), Cure(lr=1e9), Cure(momentum=0.3), Cure(eps=1e-3)]


class Counts(Net):
    """A net that keeps a count and its last activations in plain attributes, and may switch its own mode.

    One that does has another loss for the same batch each time, which no trial can judge.
    """

    def __init__(self, *, switches: bool) -> None:
        super().__init__()
        self.switches = switches
        self.calls = 0
        self.last: list[Any] = []

    def forward(self, x_BF: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        self.last.append(x_BF.mean())
        if self.switches:
            self.drop.train(self.calls % 3 > 0)
        return super().forward(x_BF)


def training(draw: Any, accumulate: int, *, switches: bool = True) -> Parts:
    seed_all(draw(st.integers(0, 5)))
    model = Counts(switches=switches)
    adam = torch.optim.AdamW if draw(st.booleans()) else torch.optim.Adam
    if draw(st.booleans()):
        inner = torch.optim.SGD([*model.inner.parameters(), *model.norm.parameters()], lr=0.1, momentum=0.9)
        optimizer: Any = [inner, adam(model.outer.parameters(), lr=0.01)]
        first = inner
    else:
        optimizer = first = adam(model.parameters(), lr=0.01)  # type: ignore[assignment]
    shadow = MovingAverage(model) if draw(st.booleans()) else None
    scaler = (
        torch.amp.GradScaler("cpu", init_scale=draw(st.sampled_from([8.0, 2.0**40]))) if draw(st.booleans()) else None
    )
    schedule = Schedule(torch.optim.lr_scheduler.StepLR(first, 2), "step") if draw(st.booleans()) else None

    def loss(batch: Any) -> torch.Tensor:
        if shadow is not None:
            shadow.follow(model)
        return nn.functional.cross_entropy(model(batch[0]), batch[1])

    parts = Parts.of(
        model,
        loss,
        optimizer=optimizer,
        settings=UpdateSettings(accumulate=accumulate),
        extra={} if shadow is None else {"average": shadow},
        scaler=scaler,
        schedule=schedule,
    )
    parts.subject.scheduler = None if schedule is None else schedule.scheduler
    return parts


@given(st.data())
def test_everything_is_bit_for_bit_what_it_was(data: st.DataObject) -> None:
    accumulate = data.draw(st.sampled_from([1, 2]))
    parts = training(data.draw, accumulate)
    batches = healthy_batches(8 * accumulate)
    updates = [tuple(batches[n : n + accumulate]) for n in range(0, len(batches), accumulate)]
    if data.draw(st.booleans()):
        updates[4] = tuple(nan_batch(batch) for batch in updates[4])
    root = parts.subject.capture()
    for update in updates[: data.draw(st.integers(0, 2))]:
        parts.applied(*update)
    parts.measured(*updates[2]) if data.draw(st.booleans()) else parts.subject.drop_gradients()
    if parts.subject.scaler is not None:
        parts.subject.drop_gradients()
    before, kept = all_of(parts.subject), clone(updates)
    asked, stops_at = iter(range(10**6)), data.draw(st.sampled_from([3, 10**6]))
    cures = CuresInForce(parts.subject, parts.executor)
    forks = Forks(parts.subject, parts.executor, root, lambda: next(asked) >= stops_at)
    try:
        with forks.undone():
            scores = [
                forks.score(updates[2:6], updates[6:], lambda cure=cure: cures.on_a_fork(cure))  # type: ignore[misc]
                for cure in data.draw(st.lists(st.sampled_from(CURES), min_size=1, max_size=3))
            ]
            assert all(isinstance(score, float) for score in scores)
    except Stopped:
        assert stops_at == 3
    zero_output_losses(parts.subject, parts.executor, updates[6:])
    assert_same(all_of(parts.subject), before)
    # What is not a number equals nothing, itself included.
    assert_same(mapped(updates, torch.nan_to_num), mapped(kept, torch.nan_to_num))


def experimenter_of(parts: Parts) -> Experimenter:
    policy = load_policy({"experiments": {}, "detect": {"spike": {"warmup_updates": 8}, "drift": None}})
    tools = Tools(parts.subject, parts.executor, DataPosition(), log_to(EventList()), FakeClock())
    return Experimenter(policy, Examining(policy, tools, Detectors(policy), RecentCanaries(4), PassBudget(1.0)))


def without_modes(held: Mapping[str, Any]) -> dict[str, Any]:
    """The plain attributes of every module, but for whether it is in training mode."""
    return {
        name: {key: value for key, value in attributes.items() if key != "training"}
        for name, attributes in held["attributes"].items()
    }


def apply(parts: Parts, attempt: Attempt) -> None:
    parts.executor.prepare(attempt)
    attempt.undone = False
    parts.executor.step_optimizer()
    parts.executor.after_update(attempt)


@given(st.data())
def test_a_trial_that_is_undone_never_was_and_one_that_stands_is_the_update_alone(data: st.DataObject) -> None:
    accumulate = data.draw(st.sampled_from([1, 2]))
    parts = training(data.draw, accumulate, switches=data.draw(st.sampled_from([False, False, False, True])))
    experimenter = experimenter_of(parts)
    batches = healthy_batches(14 * accumulate)
    updates = [tuple(batches[n : n + accumulate]) for n in range(0, len(batches), accumulate)]
    for number, update in enumerate(updates[:12]):
        attempt = parts.measured(*update, place=Place(number, number, False))
        assume(not attempt.signals)
        apply(parts, attempt)
        # The gradients that it knows are far smaller than those that come, so that the next update is odd.
        attempt.observation = replace(attempt.seen, grad_norm=1e-3 * (1 + 0.01 * (number % 3)))
        experimenter.accepted(attempt)
    parts.subject.drop_gradients()
    before = all_of(parts.subject)
    if data.draw(st.booleans(), label="damaged before it"):
        with torch.no_grad():
            for parameter in parts.model.parameters():
                parameter.mul_(-20.0)
        before = all_of(parts.subject)
    attempt = parts.measured(*updates[12], place=Place(12, 12, False))
    assume(not attempt.signals)
    assert not experimenter.suspect(attempt)
    assert attempt.suspicions
    if data.draw(st.booleans(), label="a harmful rate"):
        for each in members(parts.subject.optimizer):
            for group in each.param_groups:
                group["lr"] *= 1e4
    apply(parts, attempt)
    applied = all_of(parts.subject)
    if experimenter.judge_trial(attempt):
        assert_same(all_of(parts.subject), applied)
        return
    parts.executor.undo(attempt)
    # What modules keep in plain attributes is no state, but for their modes: the update's own pass has changed it.
    assert_same(all_of(parts.subject), before, but=["attributes"])
    assert_same(without_modes(all_of(parts.subject)), without_modes(applied))
