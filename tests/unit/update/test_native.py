"""Updates of plain PyTorch: begun, measured, applied, undone and run again."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from support.exact import assert_same
from support.parts import BATCHES, PLACE, Parts, spoils_statistics
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler
from torch.optim import SGD
from torch.optim.lr_scheduler import ExponentialLR

from supervisor.records import Observation
from supervisor.testing.tiny import with_nan
from supervisor.training.rng import capture_rng
from supervisor.training.schedule import Schedule
from supervisor.training.tree import clone
from supervisor.update import NativeExecutor, Place, UpdateSettings
from supervisor.update.executor import LossFunction


class Count:
    """Values replaced since it was last asked."""

    def __init__(self) -> None:
        self.now = 0

    def __call__(self) -> Tensor:
        count, self.now = self.now, 0
        return torch.tensor(count)


def volatile(parts: Parts) -> dict[str, Any]:
    """What a pass can change, gradients among it."""
    return {
        "buffers": {name: clone(buffer) for name, buffer in parts.model.named_buffers()},
        "torch": capture_rng()["torch"],
        "modes": [module.training for module in parts.model.modules()],
        "gradients": parts.gradients(),
    }


def drawing(parts: Parts) -> None:
    """The loss draws from torch's generator and leaves the model in evaluation mode."""
    plain = parts.loss

    def loss(batch: Any) -> Tensor:
        x_BF, y_B = batch
        value = plain((x_BF + 0.1 * torch.rand(()), y_B))
        parts.model.eval()
        return value

    parts.loss = loss
    parts.executor = NativeExecutor(parts.subject, parts.check, loss=loss, replay=loss)


def test_an_update_that_is_begun_has_no_gradients() -> None:
    parts = Parts.of()
    parts.measured(BATCHES[0])
    assert parts.gradients()
    parts.begun(BATCHES[1])
    assert parts.gradients() == {}


@pytest.mark.parametrize("way", ["undo", "give_up"])
def test_the_way_back_is_exact(way: str) -> None:
    parts = Parts.of()
    drawing(parts)
    before = volatile(parts)
    attempt = parts.measured(BATCHES[0])
    assert volatile(parts)["gradients"]
    assert not torch.equal(capture_rng()["torch"], before["torch"])
    getattr(parts.executor, way)(attempt)
    assert_same(volatile(parts), before)


def test_without_a_loss_function_there_is_nothing_to_compute() -> None:
    parts = Parts.of()
    executor = NativeExecutor(parts.subject, parts.check)
    with pytest.raises(RuntimeError, match="no loss function to compute with"):
        executor.compute(BATCHES[:1])


class TestMeasuring:
    def test_a_healthy_update_is_its_loss_its_norm_its_rate_and_its_place(self) -> None:
        parts = Parts.of()
        seen = parts.measured(BATCHES[0], place=Place(3, 5, replayed=True)).seen
        norm = math.sqrt(sum(float(grad.square().sum()) for grad in parts.gradients().values()))
        assert seen == Observation(3, 5, seen.loss, seen.grad_norm, lr=0.01, replayed=True)
        assert seen.loss == float(Parts.of().loss(BATCHES[0]).detach())
        assert seen.grad_norm == pytest.approx(norm, rel=1e-5)

    def test_gradients_that_are_not_finite_are_named(self) -> None:
        seen = Parts.of().measured(with_nan(BATCHES[0])).seen
        assert math.isnan(seen.loss)
        assert not seen.gradient_elements_finite
        assert "inner.weight" in seen.bad_gradients

    def test_spoilt_statistics_are_named_though_loss_and_gradients_are_finite(self) -> None:
        seen = Parts.of().measured(spoils_statistics(BATCHES[0])).seen
        assert seen.bad_buffers == ("norm.running_var",)
        assert math.isfinite(seen.loss + seen.grad_norm)

    def test_the_loss_scale_is_taken_out_first(self) -> None:
        scaled = Parts.of(scaler=GradScaler("cpu", init_scale=1024.0)).measured(BATCHES[0]).seen
        plain = Parts.of().measured(BATCHES[0]).seen
        assert scaled == plain

    def test_accumulated_batches_make_one_update(self) -> None:
        parts = Parts.of(settings=UpdateSettings(accumulate=2))
        assert parts.measured(BATCHES[0], BATCHES[0]).seen.loss == parts.loss(BATCHES[0])

    def test_replaced_values_are_asked_for_once_an_update(self) -> None:
        count = Count()
        parts = Parts.of(settings=UpdateSettings(sanitized=count))
        count.now = 4
        assert [parts.measured(batch).seen.sanitized for batch in BATCHES[:2]] == [4, 0]

    def test_what_the_user_raised_is_all_that_is_known_and_what_was_replaced_is_forgotten(self) -> None:
        count = Count()

        def loss(batch: Any) -> Tensor:
            count.now = 7
            raise KeyError("label")

        parts = Parts.of(loss=loss, settings=UpdateSettings(sanitized=count))
        attempt = parts.measured(BATCHES[0], place=Place(3, 5, replayed=True))
        assert (attempt.seen.exception, count.now) == ("KeyError: 'label'", 0)
        assert math.isnan(attempt.seen.loss)
        assert math.isnan(attempt.seen.grad_norm)
        assert (attempt.seen.step, attempt.seen.update, attempt.seen.replayed) == (3, 5, True)
        assert attempt.raised is not None
        assert attempt.raised.type == "KeyError"
        assert attempt.seen.exception_where == attempt.raised.where
        assert str(attempt.raised.where).startswith(__file__)

    def test_a_hook_that_raises_is_a_finding(self) -> None:
        def sanitized() -> Tensor:
            raise ValueError("no count")

        attempt = Parts.of(settings=UpdateSettings(sanitized=sanitized)).measured(BATCHES[0])
        assert attempt.seen.exception == "ValueError: no count"

    def test_neither_a_loss_nor_an_exception_is_a_mistake_of_the_caller(self) -> None:
        parts = Parts.of()
        attempt = parts.begun(BATCHES[0])
        parts.executor.measured(attempt, None, None)
        assert "needs the loss of the update" in str(attempt.seen.exception)


class TestPreparing:
    def test_the_hook_is_told_the_norm_from_before_the_clipping(self) -> None:
        norms: list[float] = []
        parts = Parts.of(settings=UpdateSettings(max_norm=0.001, on_gradients=norms.append))
        attempt = parts.measured(BATCHES[0])
        parts.executor.prepare(attempt)
        assert norms == [attempt.seen.grad_norm]
        squares = [float(grad.square().sum()) for grad in parts.gradients().values()]
        assert math.sqrt(sum(squares)) == pytest.approx(0.001, rel=1e-2)

    def test_the_hook_sees_the_gradients_unclipped(self) -> None:
        seen: list[Tensor] = []
        parts = Parts.of()
        weight = parts.model.get_parameter("outer.weight")

        def hook(norm: float) -> None:
            seen.extend([] if weight.grad is None else [weight.grad.clone()])

        parts.executor = NativeExecutor(
            parts.subject, parts.check, UpdateSettings(max_norm=0.001, on_gradients=hook), loss=parts.loss
        )
        attempt = parts.measured(BATCHES[0])
        before = parts.gradients()["outer.weight"]
        parts.executor.prepare(attempt)
        assert torch.equal(seen[0], before)

    def test_without_either_the_gradients_stay_bit_for_bit(self) -> None:
        parts = Parts.of()
        attempt = parts.measured(BATCHES[0])
        before = parts.gradients()
        parts.executor.prepare(attempt)
        assert_same(parts.gradients(), before)

    def test_what_the_hook_raises_is_in_the_attempt(self) -> None:
        def hook(norm: float) -> None:
            raise OSError("disk full")

        parts = Parts.of(settings=UpdateSettings(on_gradients=hook))
        attempt = parts.measured(BATCHES[0])
        loss = attempt.seen.loss
        parts.executor.prepare(attempt)
        assert (attempt.seen.exception, attempt.seen.loss) == ("OSError: disk full", loss)


class TestApplying:
    def test_the_rate_is_scaled_inside_alone(self) -> None:
        parts = Parts.of(optimizer=None)
        group = parts.subject.optimizer.param_groups[0]
        with parts.executor.applying(0.5):
            assert group["lr"] == 0.005
        assert group["lr"] == 0.01
        with parts.executor.applying(1.0):
            assert group["lr"] == 0.01

    @pytest.mark.parametrize("scaled", [False, True])
    def test_the_step_is_the_optimizers_own(self, scaled: bool) -> None:
        steps = []
        for by_hand in (True, False):
            parts = Parts.of(scaler=GradScaler("cpu", init_scale=2.0, growth_interval=1) if scaled else None)
            parts.measured(BATCHES[0])
            if by_hand:
                parts.subject.optimizer.step()
            else:
                parts.executor.step_optimizer()
                assert parts.subject.loss_scale == (4.0 if scaled else None)
            steps.append(parts.model.state_dict())
        assert_same(*steps)

    def test_each_of_several_steps_under_the_scaler(self) -> None:
        model = Parts.of().model
        first, second = model.get_submodule("inner"), model.get_submodule("outer")
        optimizers = [SGD(module.parameters(), lr=0.1) for module in (first, second)]
        parts = Parts.of(model, optimizer=optimizers, scaler=GradScaler("cpu", init_scale=2.0))
        before = clone(model.state_dict())
        parts.applied(BATCHES[0])
        for name in ("inner.weight", "outer.weight"):
            assert not torch.equal(model.state_dict()[name], before[name])

    def test_the_schedule_steps_afterwards(self) -> None:
        weight = nn.Parameter(torch.ones(1))
        optimizer = SGD([weight], lr=1.0)
        schedule = Schedule(ExponentialLR(optimizer, 0.5), "step")
        model = nn.Module()
        model.weight = weight
        parts = Parts.of(model, lambda batch: weight.sum() * batch, optimizer=optimizer, schedule=schedule)
        attempt = parts.applied(2.0)
        assert optimizer.param_groups[0]["lr"] == 1.0
        parts.executor.after_update(attempt)
        assert optimizer.param_groups[0]["lr"] == 0.5
        assert attempt.raised is None

    def test_what_a_scheduler_raises_is_in_the_attempt(self) -> None:
        class Ends(ExponentialLR):
            def step(self, epoch: int | None = None) -> None:
                if self.last_epoch >= 0:
                    raise ValueError("the schedule is over")
                super().step(epoch)

        parts = Parts.of()
        optimizer = parts.subject.optimizer
        assert isinstance(optimizer, torch.optim.Optimizer)
        schedule = Schedule(Ends(optimizer, 0.5), "step")
        parts.executor = NativeExecutor(parts.subject, parts.check, schedule=schedule, loss=parts.loss)
        attempt = parts.applied(BATCHES[0])
        parts.executor.after_update(attempt)
        assert attempt.seen.exception == "ValueError: the schedule is over"

    def test_what_is_wrong_with_the_state_is_added_to_what_was_seen(self) -> None:
        parts = Parts.of()
        attempt = parts.applied(BATCHES[0])
        parts.executor.check_state(attempt)
        weight = parts.model.get_parameter("outer.weight")
        assert (attempt.seen.bad_parameters, attempt.seen.bad_optimizer_state) == ((), ())
        assert attempt.seen.weight_norms is not None
        assert attempt.seen.weight_norms["outer.weight"] == pytest.approx(float(weight.detach().norm()))
        parts.subject.optimizer.state[weight]["exp_avg"][0, 0] = math.nan
        parts.model.get_parameter("inner.bias").data[1] = math.inf
        loss = attempt.seen.loss
        parts.executor.check_state(attempt)
        assert attempt.seen.bad_parameters == ("inner.bias",)
        assert attempt.seen.bad_optimizer_state == ("outer.weight.exp_avg",)
        assert attempt.seen.loss == loss


class TestAScalerThatFindsAnOverflow:
    def overflowing(self) -> Parts:
        count = Count()
        parts = Parts.of(scaler=GradScaler("cpu", init_scale=8.0), settings=UpdateSettings(sanitized=count))
        count.now = 3
        return parts

    def test_undone_it_backs_off_and_the_state_from_before_is_kept_for_replays(self) -> None:
        parts = self.overflowing()
        attempt = parts.measured(with_nan(BATCHES[0]))
        assert attempt.seen.loss_scale is None
        parts.executor.undo(attempt)
        assert attempt.scaler_before["scale"] == 8.0
        assert attempt.seen.loss_scale == 8.0
        assert parts.subject.loss_scale == 4.0

    def test_given_up_it_does_not_and_nothing_is_known_of_replaced_values(self) -> None:
        parts = self.overflowing()
        attempt = parts.measured(with_nan(BATCHES[0]))
        count = parts.executor.settings.sanitized
        assert isinstance(count, Count)
        count.now = 5
        parts.executor.give_up(attempt)
        assert parts.subject.loss_scale == 8.0
        assert attempt.scaler_before is None
        assert count.now == 0


class TestReplaying:
    @pytest.mark.parametrize("scaled", [False, True])
    def test_the_same_step_gives_the_same_to_the_bit(self, scaled: bool) -> None:
        parts = Parts.of(scaler=GradScaler("cpu", init_scale=8.0) if scaled else None)
        attempt = parts.flagged(BATCHES[0])
        seen = parts.executor.replay(attempt.batches, PLACE)
        assert (seen.loss, seen.grad_norm, seen.step, seen.update) == (attempt.seen.loss, attempt.seen.grad_norm, 3, 5)
        assert set(parts.gradients()) == {name for name, _ in parts.model.named_parameters()}

    def test_gradients_of_one_replay_are_not_added_to_those_of_the_last(self) -> None:
        parts = Parts.of()
        attempt = parts.flagged(BATCHES[0])
        first, second = (parts.executor.replay(attempt.batches, PLACE).grad_norm for _ in range(2))
        assert first == pytest.approx(second, rel=1e-4)

    def test_it_can_be_watched(self) -> None:
        parts, calls = Parts.of(), list[Any]()

        def watch(compute: LossFunction) -> LossFunction:
            return lambda batch: (calls.append(batch), compute(batch))[1]

        parts.executor.replay(BATCHES[:2], PLACE, watch)
        assert [batch is known for batch, known in zip(calls, BATCHES[:2], strict=True)] == [True, True]

    def test_one_of_several_batches_weighs_what_it_does_in_the_update_and_is_not_scaled(self) -> None:
        """By the scale it overflows, which says nothing about the batch."""

        def steep(scaler: GradScaler | None) -> Parts:
            parts = Parts.of()
            plain = parts.loss
            return Parts.of(
                parts.model,
                lambda batch: 1000 * plain(batch),
                scaler=scaler,
                settings=UpdateSettings(accumulate=2),
            )

        scaled, plain = steep(GradScaler("cpu", init_scale=1e38)), steep(None)
        before = scaled.begun(BATCHES[0]).before
        assert not math.isfinite(scaled.executor.replay(BATCHES[:1], PLACE).grad_norm)
        scaled.subject.forget_update(before)
        seen = scaled.executor.replay_one(BATCHES[0], PLACE)
        assert seen == plain.executor.replay(BATCHES[:1], PLACE)
        assert seen.loss == pytest.approx(500 * float(Parts.of().loss(BATCHES[0]).detach()))

    def test_an_exception_is_part_of_what_is_seen(self) -> None:
        count = Count()

        def loss(batch: Any) -> Tensor:
            count.now = 2
            raise ValueError("not twice")

        parts = Parts.of(loss=loss, settings=UpdateSettings(sanitized=count))
        seen = parts.executor.replay(BATCHES[:1], Place(3, 5, replayed=True))
        assert (seen.exception, seen.replayed, count.now) == ("ValueError: not twice", True, 0)
        assert str(seen.exception_where).startswith(__file__)
        assert math.isnan(seen.loss)

    def test_a_stop_order_passes_through_and_what_was_replaced_is_forgotten(self) -> None:
        count = Count()

        def loss(batch: Any) -> Tensor:
            count.now = 2
            raise KeyboardInterrupt

        parts = Parts.of(loss=loss, settings=UpdateSettings(sanitized=count))
        with pytest.raises(KeyboardInterrupt):
            parts.executor.replay(BATCHES[:1], PLACE)
        assert count.now == 0

    def test_without_a_loss_that_may_be_called_again_there_is_none(self) -> None:
        parts = Parts.of(replayed=False)
        assert "no loss function that it may call again" in str(parts.executor.no_replay)
        with pytest.raises(RuntimeError, match="no loss function that it may call again"):
            parts.executor.replay(BATCHES[:1], PLACE)
        assert Parts.of().executor.no_replay is None


class TestForks:
    """What an update of a fork is made of."""

    def test_a_probe_is_the_loss_of_an_update_without_gradients(self) -> None:
        parts = Parts.of(settings=UpdateSettings(accumulate=2))
        expected = sum(float(parts.loss(batch).detach()) for batch in BATCHES[:2]) / 2
        for graph in (False, True):
            assert parts.executor.probe(BATCHES[:2], graph=graph) == pytest.approx(expected)
        assert parts.gradients() == {}
        with pytest.raises(RuntimeError, match="no loss function"):
            Parts.of(replayed=False).executor.probe(BATCHES[:1], graph=False)

    def test_clipping_is_to_the_norm_that_is_said_or_not_at_all(self) -> None:
        parts = Parts.of()
        parts.measured(BATCHES[0])
        before = parts.gradients()
        parts.executor.clip(None)
        assert_same(parts.gradients(), before)
        parts.executor.clip(1e-3)
        norm = torch.nn.utils.get_total_norm([*parts.gradients().values()])
        assert float(norm) == pytest.approx(1e-3, rel=1e-2)

    def test_a_cure_sets_the_clip_that_prepares_every_update(self) -> None:
        parts = Parts.of()
        assert (parts.executor.max_norm, parts.executor.lr_factor) == (None, 1.0)
        parts.executor.max_norm = 1e-3
        parts.executor.prepare(parts.measured(BATCHES[0]))
        assert float(torch.nn.utils.get_total_norm([*parts.gradients().values()])) < 2e-3
