"""When the scheduler steps: per applied update or per epoch, with the loss where it asks for one."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.optim import SGD
from torch.optim.lr_scheduler import ExponentialLR, ReduceLROnPlateau

from supervisor.training.data_cursor import DataCursor
from supervisor.training.data_position import DataPosition
from supervisor.training.schedule import Schedule, as_one


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


def test_how_it_chooses_the_rate_after_every_update() -> None:
    plan, plateau = ExponentialLR(optimizer(), 0.5), ReduceLROnPlateau(optimizer())
    assert Schedule(plan, "step").stepping == "by_step"
    assert Schedule(plateau, "step").stepping == "by_loss"
    assert Schedule([plateau, plan], "step").stepping == "by_step"
    assert Schedule(plateau, "epoch").stepping is None
    assert Schedule(None, "step").stepping is None


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


class TestFollowing:
    """Schedulers by epoch, and where the data stand."""

    def by_epoch(self) -> tuple[SGD, Schedule]:
        held = optimizer()
        scheduler = ExponentialLR(held, 0.5)
        held.step()
        return held, Schedule(scheduler, "epoch")

    def rate(self, held: SGD) -> float:
        return float(held.param_groups[0]["lr"])

    def test_it_steps_once_the_data_are_in_the_next_epoch(self) -> None:
        held, schedule = self.by_epoch()
        data = DataCursor([1, 2])
        rates = []
        for _ in range(5):
            data.next()
            schedule.follow(data)
            schedule.after_update(1.0)
            rates.append(self.rate(held))
        assert rates == [1.0, 1.0, 0.5, 0.5, 0.25]

    def test_after_the_last_update_of_an_epoch_it_need_not_wait_for_the_next_batch(self) -> None:
        held, schedule = self.by_epoch()
        data = DataCursor([1, 2])
        rates = []
        for _ in range(4):
            data.next()
            schedule.after_update(1.0)
            schedule.follow(data, update_ended=True)
            rates.append(self.rate(held))
        assert rates == [1.0, 0.5, 0.5, 0.25]

    def test_by_step_the_data_are_not_asked_whether_their_epoch_ended(self) -> None:
        data = DataCursor([1])
        data.next()
        Schedule(None, "step").follow(data, update_ended=True)
        assert (data.epoch, data.batch_in_epoch) == (0, 1)

    def test_an_epoch_in_which_nothing_was_applied_does_not_count(self) -> None:
        held, schedule = self.by_epoch()
        data = DataCursor([1])
        data.next()
        schedule.after_update(1.0)
        for _ in range(3):
            data.next()
        schedule.follow(data)
        assert (data.epoch, self.rate(held)) == (3, 0.5)

    @pytest.mark.parametrize(("begun", "rate"), [(1, 0.5), (2, 1.0)])
    def test_it_begins_where_the_data_stand(self, begun: int, rate: float) -> None:
        """Or it would step for epochs that ended before the run began, or before the state that was put back."""
        held, schedule = self.by_epoch()
        data = DataCursor([1])
        for _ in range(3):
            data.next()
        schedule.after_update(1.0)
        schedule.begin_at(begun)
        schedule.follow(data)
        assert (data.epoch, self.rate(held)) == (2, rate)

    def test_it_can_be_begun_again_at_an_earlier_epoch(self) -> None:
        held, schedule = self.by_epoch()
        data = DataCursor([1])
        start = data.position()
        for _ in range(2):
            data.next()
            schedule.after_update(1.0)
            schedule.follow(data)
        assert self.rate(held) == 0.5
        data.seek(start)
        schedule.begin_at(data.epoch)
        for _ in range(2):
            data.next()
            schedule.after_update(1.0)
            schedule.follow(data)
        assert self.rate(held) == 0.25

    def test_data_that_the_caller_draws_never_end_an_epoch(self) -> None:
        held, schedule = self.by_epoch()
        schedule.after_update(1.0)
        schedule.follow(DataPosition(), update_ended=True)
        assert self.rate(held) == 1.0


class TestSeveral:
    def test_each_steps_and_those_that_follow_a_metric_are_given_it(self) -> None:
        first, second = optimizer(), optimizer()
        decay, plateau = ExponentialLR(first, 0.5), ReduceLROnPlateau(second)
        first.step()
        second.step()
        schedule = Schedule([decay, plateau], "step")
        schedule.after_update(3.0)
        assert (first.param_groups[0]["lr"], plateau.best) == (0.5, 3.0)

    def test_their_state_is_taken_and_put_back_by_place(self) -> None:
        one, other = (as_one([ExponentialLR(optimizer(), 0.5), ReduceLROnPlateau(optimizer())]) for _ in range(2))
        assert one is not None
        assert other is not None
        one.schedulers[1].step(3.0)
        one.schedulers[0].last_epoch = 7
        other.load_state_dict(one.state_dict())
        assert other.schedulers[0].last_epoch == 7
        assert other.state_dict()["1"]["best"] == 3.0

    def test_a_group_that_the_state_does_not_know_keeps_its_base_rate(self) -> None:
        held = optimizer()
        before = as_one(ExponentialLR(held, 0.5))
        held.add_param_group({"params": [nn.Parameter(torch.ones(1))], "lr": 0.3})
        after = as_one(ExponentialLR(held, 0.5))
        assert before is not None
        assert after is not None
        after.load_state_dict(before.state_dict())
        assert after.schedulers[0].base_lrs == [1.0, 0.3]

    def test_none_is_none_and_one_is_one(self) -> None:
        scheduler = ExponentialLR(optimizer(), 0.5)
        found = as_one(scheduler)
        assert as_one(None) is None
        assert found is not None
        assert found.schedulers == (scheduler,)
