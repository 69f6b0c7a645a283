"""Several optimizers of one loss, each with its scheduler: scaled, cut, resumed as one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from support.exact import assert_same, everything
from support.kinds import Layers, batches, kind, spoilt, training_of
from support.training import EventList, Training, guard_of, quiet
from torch import nn
from torch.optim import SGD, Adam
from torch.optim.lr_scheduler import CosineAnnealingLR, ReduceLROnPlateau

from supervisor import Guard
from supervisor.training.optimizers import ChainedOptimizer, chained

BATCHES = batches(12)
POLICY = quiet(ladder=[{"action": "lower_lr", "factor": 0.5}])


def scheduled() -> tuple[Training, list[Any]]:
    training = kind("two optimizers")
    one, other = training.optimizer  # type: ignore[misc]
    return training, [CosineAnnealingLR(one, 20), ReduceLROnPlateau(other, patience=0, factor=0.5)]


def guard(training: Training, **options: Any) -> Guard:
    return Guard(
        model=training.model,
        optimizer=training.optimizer,
        loss=training.loss,
        data=BATCHES,
        scaler=training.scaler,
        **options,
    )


def test_each_with_its_scheduler_is_the_loop_one_writes(tmp_path: Path) -> None:
    plain, schedulers = scheduled()
    for batch in BATCHES:
        for each in plain.optimizer:  # type: ignore[attr-defined]
            each.zero_grad()
        loss = plain.loss(batch)
        loss.backward()  # type: ignore[no-untyped-call]
        for each in plain.optimizer:  # type: ignore[attr-defined]
            each.step()
        schedulers[0].step()
        schedulers[1].step(loss.item())
    training, others = scheduled()
    guard(training, scheduler=others, policy=quiet(), run_dir=tmp_path / "run").run(len(BATCHES))
    assert_same(everything(training), everything(plain))
    assert_same([each.state_dict() for each in others], [each.state_dict() for each in schedulers])
    resumed, schedules = scheduled()
    guard(resumed, scheduler=schedules, policy=quiet(), run_dir=tmp_path / "run", resume=True)
    assert_same(everything(resumed), everything(plain))
    assert_same([each.state_dict() for each in schedules], [each.state_dict() for each in schedulers])


def test_a_cut_scales_every_group_of_every_optimizer_for_its_step_alone() -> None:
    training = kind("two optimizers")
    optimizers: Any = training.optimizer
    optimizers[0].add_param_group({"params": [nn.Parameter(torch.ones(1))], "lr": 0.3})
    seen: list[float] = []
    for each in optimizers:
        each.register_step_pre_hook(lambda optimizer, *_: seen.extend(g["lr"] for g in optimizer.param_groups))
    watch = guard(training, policy=POLICY)
    watch.step(BATCHES[0])
    assert not watch.step(spoilt(BATCHES[1])).applied
    watch.step(BATCHES[2])
    assert seen == [0.05, 0.3, 0.01, 0.025, 0.15, 0.005]
    assert [group["lr"] for each in optimizers for group in each.param_groups] == [0.05, 0.3, 0.01]


@pytest.mark.parametrize("scale", [1.0, 2.0**10])
def test_a_gradient_scaler_unscales_and_steps_each_and_is_updated_once(scale: float) -> None:
    def scaled() -> Training:
        training = kind("two optimizers")
        training.scaler = torch.amp.GradScaler("cpu", init_scale=scale, growth_interval=3)
        return training

    plain = scaled()
    optimizers: Any = plain.optimizer
    for batch in BATCHES:
        for each in optimizers:
            each.zero_grad()
        plain.scaler.scale(plain.loss(batch)).backward()
        for each in optimizers:
            plain.scaler.unscale_(each)
        for each in optimizers:
            plain.scaler.step(each)
        plain.scaler.update()
    training = scaled()
    watch = guard(training, policy=quiet())
    watch.run(len(BATCHES))
    assert_same(everything(training), everything(plain))
    before = everything(training)
    assert not watch.step(spoilt(BATCHES[0])).applied
    assert training.scaler.get_scale() == before["scaler"]["scale"] / 2
    assert_same(everything(training), before, but=["scaler"])
    assert watch.step(BATCHES[1]).applied


def test_an_overflow_of_the_second_alone_backs_the_scale_off() -> None:
    training = kind("two optimizers")
    training.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    watch = guard(training, policy=quiet())
    watch.step(BATCHES[0])
    bias: Any = training.model.outer.bias  # type: ignore[union-attr]
    handle = bias.register_hook(lambda gradient: gradient * float("inf"))
    assert not watch.step(BATCHES[1]).applied
    handle.remove()
    assert training.scaler.get_scale() == 2.0**9
    assert watch.step(BATCHES[2]).applied


def test_a_list_of_one_is_that_one() -> None:
    model = Layers()
    optimizer = Adam(model.parameters())
    assert chained([optimizer]) is optimizer
    assert guard_of(training_of(model, [optimizer]), BATCHES).run(3).applied_steps == 3


def test_what_is_written_to_the_state_goes_to_the_one_that_holds_the_parameter() -> None:
    model = Layers()
    one, other = SGD(model.inner.parameters(), lr=0.1), Adam(model.outer.parameters())
    together = ChainedOptimizer([one, other])
    together.state[model.outer.bias] = {"step": torch.tensor(3.0)}
    together.state[model.inner.bias] = {"momentum_buffer": torch.zeros(8)}
    assert (list(one.state), list(other.state)) == ([model.inner.bias], [model.outer.bias])
    assert (len(together.state), together.state[model.outer.bias]["step"]) == (2, 3)
    assert together.state.pop(model.outer.bias, None) is not None
    assert not other.state
    with pytest.raises(KeyError):
        del together.state[model.outer.bias]
    with pytest.raises(KeyError):
        together.state[nn.Parameter(torch.ones(1))] = {}
    one.add_param_group({"params": [nn.Parameter(torch.ones(2))], "lr": 0.7})
    assert [group["lr"] for group in together.param_groups] == [0.1, 0.7, 0.001]


def test_weights_redrawn_lose_their_moments_wherever_those_are() -> None:
    training, heard = kind("two optimizers"), EventList()
    watch = guard(training, policy=quiet(ladder=[{"action": "reinitialize", "modules": ["outer"]}]), listeners=[heard])
    for batch in BATCHES[:25]:
        watch.step(batch)
    watch.step(spoilt(BATCHES[1]))
    assert heard.actions() == ["reinitialize"]
    other = training.optimizer[1]  # type: ignore[index]
    assert training.model.outer.weight not in other.state  # type: ignore[union-attr]
    assert watch.step(BATCHES[3]).applied
