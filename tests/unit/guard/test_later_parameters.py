"""Parameters that come to the optimizer while it trains, and those that are frozen and set free."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from support.exact import assert_finite, assert_same, everything, seed_all
from support.kinds import Layers, batches, plain_steps, spoilt, training_of
from support.training import EventList, Training, build, guard_of, healthy_batches, quiet
from torch import nn
from torch.optim import Adam
from torch.optim.lr_scheduler import LambdaLR

from supervisor import InputError
from supervisor.training.modules import parameter_names
from supervisor.training.state import Subject

BATCHES = batches(14)
RELOAD = quiet(
    ladder=[{"action": "reload_checkpoint"}],
    snapshot={"every_steps": 3},
    checkpoint={"every_steps": 3},
    probation_steps=2,
)


def half_frozen() -> Training:
    """The backbone is frozen, and the optimizer does not hold it."""
    seed_all(0)
    model = Layers(nn.BatchNorm1d(8))
    model.inner.requires_grad_(False)
    return training_of(model, Adam([*model.between.parameters(), *model.outer.parameters()], lr=0.01))


def unfreeze(training: Training) -> None:
    inner: Any = training.model.inner
    inner.requires_grad_(True)
    training.optimizer.add_param_group({"params": list(inner.parameters()), "lr": 0.001})


def test_a_backbone_set_free_is_trained_as_without_the_guard() -> None:
    plain, training = half_frozen(), half_frozen()
    for each in (plain, training):
        seed_all(1)
        step = guard_of(training).step if each is training else None
        for number, batch in enumerate(BATCHES):
            if number == 5:
                unfreeze(each)
            if step is None:
                plain_steps(each, [batch])
            else:
                assert step(batch).applied
    assert_same(everything(training), everything(plain))


def test_a_fault_after_it_is_discarded_and_a_reload_to_a_later_state_is_exact() -> None:
    training = half_frozen()
    guard, states = guard_of(training, policy=RELOAD), []
    for number, batch in enumerate(BATCHES[:10]):
        if number == 2:
            unfreeze(training)
        states.append(everything(training))
        assert guard.step(batch).applied
    outcome = guard.step(spoilt(BATCHES[10]))
    assert "inner.weight" in str(outcome.signals[1].details["tensors"])
    assert_same(everything(training), states[6])
    assert guard.step(BATCHES[11]).applied


@pytest.mark.parametrize("source", ["memory", "disk"])
def test_a_reload_to_a_state_from_before_it_keeps_the_group_and_takes_back_what_was_learnt(
    source: str, tmp_path: Path
) -> None:
    training, heard = half_frozen(), EventList()
    policy = {**RELOAD, "snapshot": {"every_steps": 3, "keep": 3 if source == "memory" else 0}}
    guard = guard_of(training, policy=policy, run_dir=tmp_path / "run", listeners=[heard])
    states = []
    for number, batch in enumerate(BATCHES[:5]):
        if number == 4:
            unfreeze(training)
        states.append(everything(training))
        assert guard.step(batch).applied
    inner: Any = training.model.inner
    assert training.optimizer.state[inner.weight]
    assert guard.step(spoilt(BATCHES[5])).action == "reload_checkpoint"
    assert heard.named("action_applied")[0].restored_step == 3
    found = everything(training)
    assert_same(found, states[3], but=["optimizer.param_groups"])
    assert inner.weight not in training.optimizer.state
    assert [group["lr"] for group in training.optimizer.param_groups] == [0.01, 0.001]
    assert inner.weight.requires_grad
    assert guard.step(BATCHES[6]).applied
    assert training.optimizer.state[inner.weight]["step"] == 1
    assert_finite(training)


def test_a_schedule_that_was_widened_for_the_new_group_stays_wide_after_a_reload() -> None:
    training = half_frozen()
    schedule: Any = LambdaLR(training.optimizer, [lambda step: 0.9**step])
    training.scheduler = schedule
    guard = guard_of(training, policy=RELOAD)
    for batch in BATCHES[:4]:
        guard.step(batch)
    unfreeze(training)
    schedule.base_lrs.append(0.001)
    schedule.lr_lambdas.append(lambda step: 0.5**step)
    assert guard.step(BATCHES[4]).applied
    assert guard.step(spoilt(BATCHES[5])).action == "reload_checkpoint"
    assert guard.step(BATCHES[6]).applied
    assert [group["lr"] for group in training.optimizer.param_groups] == pytest.approx([0.01 * 0.9**4, 0.001 * 0.5**4])


def test_a_parameter_of_no_module_goes_back_to_what_it_came_with() -> None:
    training, loose = half_frozen(), nn.Parameter(torch.tensor([0.5]))
    guard = guard_of(
        training, policy=RELOAD, loss=lambda batch: training.loss(batch) + (loose * batch[3] - 2).square().sum()
    )
    for batch in BATCHES[:4]:
        guard.step(batch)
    training.optimizer.add_param_group({"params": [loose]})
    guard.step(BATCHES[4])
    assert loose.item() != 0.5
    outcome = guard.step(spoilt(BATCHES[5]))
    assert "param_groups.1.0" in outcome.signals[1].details["tensors"] or outcome.signals[1].details["tensor_count"] > 3  # type: ignore[operator]
    assert loose.item() == 0.5
    assert guard.step(BATCHES[6]).applied


def test_one_that_is_not_finite_as_it_comes_is_refused() -> None:
    training = half_frozen()
    guard = guard_of(training)
    guard.step(BATCHES[0])
    training.optimizer.add_param_group({"params": [nn.Parameter(torch.tensor([math.nan]))]})
    with pytest.raises(InputError, match=r"param_groups\.1\.0 is not finite as it is added"):
        guard.step(BATCHES[1])


def test_a_model_that_grows_is_refused_with_the_mend() -> None:
    training = half_frozen()
    guard = guard_of(training)
    guard.step(BATCHES[0])
    training.model.extra = nn.Linear(2, 2)
    training.optimizer.add_param_group({"params": training.model.extra.parameters()})
    with pytest.raises(
        InputError, match=r"model: extra\.weight is new since the guard was built: build the model whole"
    ):
        guard.step(BATCHES[1])


def test_freezing_and_setting_free_without_touching_the_optimizer() -> None:
    plain, training = half_frozen(), half_frozen()
    for each in (plain, training):
        guard = guard_of(training, policy=RELOAD)
        outer: Any = each.model.outer
        for number, batch in enumerate(BATCHES):
            outer.requires_grad_(not 3 <= number < 8)
            if each is plain:
                plain_steps(each, [batch])
            else:
                assert guard.step(batch).applied
    assert_same(everything(training), everything(plain))
    assert not guard.step(spoilt(BATCHES[0])).applied
    assert_finite(training)


def test_going_on_needs_the_groups_that_the_checkpoint_has(tmp_path: Path) -> None:
    training = half_frozen()
    guard = guard_of(training, policy=RELOAD, run_dir=tmp_path / "run")
    for number, batch in enumerate(BATCHES[:5]):
        if number == 2:
            unfreeze(training)
        guard.step(batch)
    guard.finish()
    guard.close()
    with pytest.raises(InputError, match=r"step-00000005: is of another training.*\(2\): add to the optimizer what it"):
        guard_of(half_frozen(), policy=RELOAD, run_dir=tmp_path / "run", resume=True)
    other = half_frozen()
    unfreeze(other)
    guard_of(other, policy=RELOAD, run_dir=tmp_path / "run", resume=True)
    assert_same(everything(other), everything(training))


def test_a_group_is_known_by_its_parameters_and_not_by_its_place() -> None:
    training = half_frozen()
    names = parameter_names(training.model, training.optimizer)
    subject = Subject(training.model, training.optimizer, None, None, {}, names)
    state = subject.capture()
    first: Any = state.optimizer["groups"][0]
    first["params"] = ["gone.weight"]
    assert "a parameter group that begins with gone.weight" in str(subject.misfit(state))


@pytest.mark.parametrize("tell_the_optimizer", [True, False])
def test_a_module_that_takes_the_place_of_another_with_parameters_of_its_own_is_refused(
    tell_the_optimizer: bool,
) -> None:
    """Its gradients would be inspected by nobody."""
    training = build(optimizer="sgd_momentum")
    guard = guard_of(training)
    guard.step(healthy_batches(1)[0])
    model: Any = training.model
    model.outer = nn.Linear(16, 3)
    if tell_the_optimizer:
        training.optimizer.param_groups[0]["params"][-2:] = list(model.outer.parameters())
    with pytest.raises(InputError, match="is new since the guard was built"):
        guard.step(healthy_batches(1)[0])
