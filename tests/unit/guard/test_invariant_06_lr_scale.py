"""Invariant 6: the LR scale is recovery state: it outlives reloads and schedulers, and each cut is taken back."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from support.exact import assert_same, everything
from support.training import SCHEDULERS, EventList, build, guard_of, healthy_batches, nan_batch, quiet
from torch import Tensor
from torch.optim import SGD

BATCHES = healthy_batches(80)
CUT = {"action": "lower_lr", "attempts": 2, "factor": 0.5, "restore_after_steps": 10}


def rates(optimizer: torch.optim.Optimizer) -> list[float]:
    return [float(group["lr"]) for group in optimizer.param_groups]


class Watched:
    """A training whose optimizer tells the rate it steps at, and which compares the nominal one everywhere else."""

    def __init__(self, scheduler: str, policy: dict[str, Any], *, fail_at: int | None = None) -> None:
        self.training = build(scheduler=scheduler)
        self.reference = build(scheduler=scheduler)
        build(scheduler=scheduler)
        self.used: list[float] = []
        self.heard = EventList()
        real = self.training.optimizer.step

        def step(*args: Any, **kwargs: Any) -> Any:
            self.used.append(rates(self.training.optimizer)[0])
            if len(self.used) - 1 == fail_at:
                raise RuntimeError("the optimizer gave up")
            return real(*args, **kwargs)

        self.training.optimizer.step = step  # type: ignore[method-assign]
        self.nominal = rates(self.training.optimizer)
        self.guard = guard_of(
            self.training,
            loss=self.loss,
            policy=policy,
            listeners=[self.heard],
            on_gradients=lambda norm: self.is_nominal(),
            on_progress=lambda progress: None,
        )

    def is_nominal(self) -> None:
        assert rates(self.training.optimizer) == self.nominal

    def loss(self, batch: Any) -> Tensor:
        self.is_nominal()
        return self.training.loss(batch)

    def step(self, batch: Any) -> Any:
        if self.training.scheduler is not None:
            # The scheduler is the only one that may change the nominal rate.
            self.nominal = [float(lr) for lr in self.training.scheduler.get_last_lr()]
        self.is_nominal()
        outcome = self.guard.step(batch)
        if self.training.scheduler is not None:
            self.nominal = [float(lr) for lr in self.training.scheduler.get_last_lr()]
        self.is_nominal()
        return outcome


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_a_cut_multiplies_whatever_the_scheduler_says_and_is_taken_back(scheduler: str) -> None:
    watched = Watched(scheduler, quiet(ladder=[CUT], cooldown_steps=3))
    scales = []
    for number in range(30):
        bad = number in (5, 6)
        before = watched.nominal[0]
        outcome = watched.step(nan_batch(BATCHES[number]) if bad else BATCHES[number])
        scale = watched.guard.summary().lr_scale
        scales.append(scale)
        if outcome.applied:
            in_force = scales[-2] if number else 1.0
            assert watched.used[-1] == pytest.approx(before * in_force, rel=1e-12)
    assert scales[:5] == [1.0] * 5
    assert scales[5:7] == [0.5, 0.25]
    assert scales[7:16] == [0.25] * 9
    assert scales[16:] == [1.0] * 14
    assert [event.lr_scale for event in watched.heard.named("lr_restored")] == [1.0]
    logged = [event.lr_scale for event in watched.heard.named("action_applied")]
    assert logged == [0.5, 0.25]


def test_each_cut_counts_its_own_healthy_steps() -> None:
    watched = Watched("none", quiet(ladder=[CUT], cooldown_steps=2))
    scales = []
    for number in range(30):
        watched.step(nan_batch(BATCHES[number]) if number in (5, 10) else BATCHES[number])
        scales.append(watched.guard.summary().lr_scale)
    # The second bad batch is no healthy step: the first cut ends ten healthy steps after it was made, at 16.
    assert scales[5:10] == [0.5] * 5
    assert scales[10:16] == [0.25] * 6
    assert scales[16:20] == [0.5] * 4
    assert scales[20:] == [1.0] * 10


@pytest.mark.parametrize("where", ["memory", "disk"])
@pytest.mark.parametrize("scheduler", ["cosine", "one_cycle", "plateau"])
def test_the_scale_survives_a_reload(scheduler: str, where: str, tmp_path: Any) -> None:
    policy = quiet(
        ladder=[{**CUT, "attempts": 1}, {"action": "reload_checkpoint", "attempts": 1}],
        snapshot={"every_steps": 5, "keep": 3 if where == "memory" else 0},
        checkpoint={"every_steps": 5},
        probation_steps=2,
        cooldown_steps=4,
    )
    training, heard = build(scheduler=scheduler), EventList()
    guard = guard_of(training, policy=policy, run_dir=tmp_path / "run", listeners=[heard])
    states = []
    for number in range(8):
        guard.step(BATCHES[number])
        states.append(everything(training))
    assert guard.step(nan_batch(BATCHES[8])).action == "lower_lr"
    assert guard.step(nan_batch(BATCHES[9])).action == "reload_checkpoint"
    assert heard.named("action_applied")[-1].restored_from == where
    assert_same(everything(training), states[4])
    assert guard.summary().lr_scale == 0.5
    for number in range(10, 13):
        guard.step(BATCHES[number])
        assert guard.summary().lr_scale == 0.5
    # A higher rung cured the incident, so the cut was not the cure: it goes when the incident closes.
    guard.step(BATCHES[13])
    assert len(heard.named("incident_closed")) == 1
    assert guard.summary().lr_scale == 1.0


def test_the_nominal_rate_is_back_when_the_optimizer_raises() -> None:
    watched = Watched("cosine", quiet(ladder=[CUT, {"action": "reload_checkpoint"}], cooldown_steps=3), fail_at=4)
    for number in range(4):
        watched.step(nan_batch(BATCHES[number]) if number == 2 else BATCHES[number])
    assert watched.guard.summary().lr_scale == 0.5
    watched.step(BATCHES[4])
    outcome = watched.step(BATCHES[5])
    assert [str(signal.name) for signal in outcome.signals] == ["step_exception"]
    assert outcome.action == "reload_checkpoint"
    assert watched.used[4] == pytest.approx(0.5 * 0.01, rel=1e-2)
    watched.is_nominal()


def test_every_group_and_a_rate_that_is_a_tensor_are_scaled_and_put_back() -> None:
    training = build()
    inner, outer = list(training.model.parameters())[:2], list(training.model.parameters())[2:]
    groups = [{"params": inner, "lr": torch.tensor(0.1)}, {"params": outer, "lr": 0.01}]
    training.optimizer = SGD(groups)
    rate = training.optimizer.param_groups[0]["lr"]
    used: list[list[float]] = []
    training.optimizer.register_step_pre_hook(lambda optimizer, *_: used.append(rates(optimizer)))
    guard = guard_of(training, policy=quiet(ladder=[CUT]))
    guard.step(nan_batch(BATCHES[0]))
    guard.step(BATCHES[1])
    assert used == [pytest.approx([0.05, 0.005])]
    assert training.optimizer.param_groups[0]["lr"] is rate
    assert rates(training.optimizer) == pytest.approx([0.1, 0.01])


def test_a_lower_rate_takes_smaller_steps() -> None:
    def moved(bad: int) -> Tensor:
        training = build(optimizer="sgd_momentum")
        guard = guard_of(training, policy=quiet(ladder=[CUT]))
        for _ in range(bad):
            guard.step(nan_batch(BATCHES[0]))
        before = training.model.outer.weight.detach().clone()  # type: ignore[union-attr]
        guard.step(BATCHES[1])
        return training.model.outer.weight.detach() - before  # type: ignore[union-attr]

    assert torch.allclose(moved(1), moved(0) * 0.5, atol=1e-7)
    assert torch.allclose(moved(2), moved(0) * 0.25, atol=1e-7)
