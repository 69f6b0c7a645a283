"""When the scheduler steps: per applied update or per epoch, with the loss where it asks for one."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.optim import SGD
from torch.optim.lr_scheduler import ExponentialLR, ReduceLROnPlateau

from supervisor.training.schedule import Schedule


def optimizer() -> SGD:
    return SGD([nn.Parameter(torch.ones(1))], lr=1.0)


def test_per_step_it_steps_with_each_update_and_not_with_the_epoch() -> None:
    held = optimizer()
    scheduler = ExponentialLR(held, 0.5)
    held.step()  # every scheduler expects one before it steps itself
    schedule = Schedule(scheduler, "step")
    schedule.after_update(1.0)
    schedule.after_update(1.0)
    schedule.after_epoch()
    assert held.param_groups[0]["lr"] == 0.25
    assert not schedule.by_epoch


def test_per_epoch_it_steps_with_the_epoch_alone() -> None:
    held = optimizer()
    scheduler = ExponentialLR(held, 0.5)
    held.step()  # every scheduler expects one before it steps itself
    schedule = Schedule(scheduler, "epoch")
    for _ in range(5):
        schedule.after_update(1.0)
    assert held.param_groups[0]["lr"] == 1.0
    schedule.after_epoch()
    assert held.param_groups[0]["lr"] == 0.5


def test_an_epoch_without_an_applied_update_does_not_count() -> None:
    held = optimizer()
    scheduler = ExponentialLR(held, 0.5)
    held.step()  # every scheduler expects one before it steps itself
    schedule = Schedule(scheduler, "epoch")
    schedule.after_epoch()
    schedule.after_update(1.0)
    schedule.after_epoch()
    schedule.after_epoch()
    assert held.param_groups[0]["lr"] == 0.5


@pytest.mark.parametrize("losses", [[3.0], [1.0, 2.0, 6.0]])
def test_a_plateau_is_judged_by_the_mean_loss_of_the_epoch(losses: list[float]) -> None:
    plateau = ReduceLROnPlateau(optimizer())
    schedule = Schedule(plateau, "epoch")
    for loss in losses:
        schedule.after_update(loss)
    schedule.after_epoch()
    assert plateau.best == 3.0
    schedule.after_update(2.0)
    schedule.after_epoch()
    assert plateau.best == 2.0


def test_a_plateau_per_step_is_judged_by_the_loss() -> None:
    plateau = ReduceLROnPlateau(optimizer())
    schedule = Schedule(plateau, "step")
    for loss in (5.0, 4.0, 7.0):
        schedule.after_update(loss)
    assert plateau.best == 4.0
    assert plateau.num_bad_epochs == 1


def test_the_losses_of_an_epoch_in_progress_are_state() -> None:
    plateau, other = ReduceLROnPlateau(optimizer()), ReduceLROnPlateau(optimizer())
    schedule, resumed = Schedule(plateau, "epoch"), Schedule(other, "epoch")
    schedule.after_update(1.0)
    resumed.load_state_dict(schedule.state_dict())
    for each in (schedule, resumed):
        each.after_update(4.0)
        each.after_epoch()
    assert plateau.best == other.best == 2.5
    assert schedule.state_dict() == resumed.state_dict() == {"losses": 0.0, "count": 0}


@pytest.mark.parametrize("interval", ["step", "epoch"])
def test_without_a_scheduler_nothing_happens(interval: str) -> None:
    schedule = Schedule(None, interval)  # type: ignore[arg-type]
    schedule.after_update(1.0)
    schedule.after_epoch()
    assert schedule.state_dict() == {"losses": 0.0, "count": 0}
