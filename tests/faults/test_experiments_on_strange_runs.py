"""Acceptance: sound runs of kinds that statistics take for damage, and damage of kinds that they do not see."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from support.exact import assert_same, everything, seed_all
from support.training import EventList, Training, guard_of
from torch import Tensor, nn
from torch.nn import functional

Batch = tuple[Any, ...]
WEIGHTS_FC = torch.randn(8, 4, generator=torch.Generator().manual_seed(5))


def rows(number: int, noise: float = 0.5) -> tuple[Tensor, Tensor]:
    """One batch of a problem that can be learnt, the same for the same number."""
    draw = torch.Generator().manual_seed(number)
    x_BF = torch.randn(32, 8, generator=draw)
    return x_BF, (x_BF @ WEIGHTS_FC + noise * torch.randn(32, 4, generator=draw)).argmax(1)


class Batches:
    """Endless; `change` makes what is drawn of a batch and its number."""

    def __init__(self, change: Callable[[int, tuple[Tensor, Tensor]], Batch] = lambda number, batch: batch) -> None:
        self.change = change

    def __iter__(self) -> Iterator[Batch]:
        return (self.change(number, rows(number)) for number in itertools.count())


def net(outputs: int = 4) -> nn.Module:
    return nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, outputs))


def training(model: nn.Module, loss: Callable[[Batch], Tensor], lr: float = 0.01, **extra: Any) -> Training:
    return Training(model, torch.optim.Adam(model.parameters(), lr=lr), None, loss, extra)


def classifier(lr: float = 0.01) -> Training:
    seed_all(0)
    model = net()
    return training(model, lambda batch: functional.cross_entropy(model(batch[0]), batch[1]), lr)


class Run:
    def __init__(self, made: Training, data: Iterable[Batch], **options: Any) -> None:
        self.training, self.heard = made, EventList()
        self.guard = guard_of(made, data, policy={}, listeners=[self.heard], quiet=True, **options)  # type: ignore[arg-type]
        self.losses: list[float] = []

    def go(self, steps: int, before: Callable[[int], object] = lambda step: None) -> Any:
        for batch in self.guard.batches(steps):
            before(self.guard.steps_done)
            self.losses.append(self.guard.step(batch).loss)
        return self.guard.summary()


def unguarded(made: Training, data: Iterable[Batch], steps: int) -> Training:
    for batch in itertools.islice(data, steps):
        made.optimizer.zero_grad()
        torch.autograd.backward(made.loss(batch))
        made.optimizer.step()
    return made


class Counter:
    """Counts, and is registered."""

    def __init__(self) -> None:
        self.count = 0

    def state_dict(self) -> dict[str, Any]:
        return {"count": self.count}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.count = state["count"]


class TestSound:
    def test_a_target_network_that_is_copied_now_and_then(self) -> None:
        """Its loss rises with each copy, on every batch that there was, and no state is damaged."""
        seed_all(0)
        model, target, counter = net(2), net(2), Counter()
        target.load_state_dict(model.state_dict())

        def loss(batch: Batch) -> Tensor:
            s_BF, a_B, r_B, next_BF = batch
            with torch.no_grad():
                y_B = r_B + 0.9 * target(next_BF).max(1).values
            return functional.smooth_l1_loss(model(s_BF).gather(1, a_B[:, None]).squeeze(1), y_B)

        def episode(number: int, batch: Batch) -> Batch:
            s_BF, a_B = batch[0].clamp(-1, 1), batch[1] % 2
            next_BF = torch.roll(s_BF, 1, dims=1) * (a_B * 2 - 1)[:, None]
            return s_BF, a_B, (next_BF[:, 0] > 0.9).float(), next_BF

        made = training(model, loss, 3e-3, target=target, counter=counter)

        def copied(*_: Any) -> None:
            counter.count += 1
            if counter.count % 100 == 0:
                target.load_state_dict(model.state_dict())

        made.optimizer.register_step_post_hook(copied)
        run = Run(made, Batches(episode))
        assert run.go(800).status == "finished"
        assert set(run.heard.actions()) <= {"skip_batch", "reload_checkpoint"}
        assert run.heard.actions().count("reload_checkpoint") <= 1

    def test_a_second_term_of_the_loss_costs_one_reload_at_most(self) -> None:
        seed_all(0)
        model, counter = net(), Counter()

        def loss(batch: Batch) -> Tensor:
            counter.count += model.training
            smoothing = 0.3 if counter.count > 400 else 0.0
            return functional.cross_entropy(model(batch[0]), batch[1], label_smoothing=smoothing)

        run = Run(training(model, loss, counter=counter), Batches())
        assert run.go(600).status == "finished"
        assert run.heard.actions() in ([], ["reload_checkpoint"])

    @pytest.mark.parametrize("place", ["every other batch", "in blocks"])
    def test_a_second_task_of_another_scale_is_learnt(self, place: str) -> None:
        def second(number: int) -> bool:
            return number >= 200 and (number % 2 == 0 if place == "every other batch" else number // 20 % 2 == 0)

        def both(number: int, batch: Batch) -> Batch:
            return *batch, 50 * batch[0][:, :1] if second(number) else None

        def made() -> Training:
            seed_all(0)
            model = net(5)

            def loss(batch: Batch) -> Tensor:
                out_BC = model(batch[0])
                if batch[2] is None:
                    return functional.cross_entropy(out_BC[:, :4], batch[1])
                return functional.mse_loss(out_BC[:, 4:], batch[2])

            return training(model, loss)

        def error(trained: Training) -> float:
            x_BF = rows(10**6)[0]
            with torch.no_grad():
                return float(functional.mse_loss(trained.model(x_BF)[:, 4:], 50 * x_BF[:, :1]))

        run = Run(made(), Batches(both))
        assert run.go(1000).status == "finished"
        assert len(run.heard.named("data_shift")) >= 1
        assert error(run.training) < 0.05 * 2500
        assert error(unguarded(made(), Batches(both), 200)) > 2000

    def test_a_loader_that_fills_the_same_memory(self) -> None:
        class OneBuffer:
            def __iter__(self) -> Iterator[Batch]:
                x, y = np.zeros((32, 8), np.float32), np.zeros(32, np.int64)
                for number in itertools.count():
                    x_BF, y_B = rows(number)
                    x[:], y[:] = x_BF.numpy(), y_B.numpy()
                    x[3, 2] = float("nan") if number % 50 == 49 else x[3, 2]
                    yield torch.from_numpy(x), torch.from_numpy(y)

        run = Run(classifier(), OneBuffer())
        assert run.go(300).status == "finished"
        assert run.heard.actions() == ["skip_batch"] * 6
        assert {str(event.evidence.blame) for event in run.heard.named("decision")} == {"data"}

    def test_residual_branches_that_begin_with_zeros_on_data_that_are_mostly_noise(self) -> None:
        """Hardly anything is learnt by the time that a start is looked at, and the loss began at that of zeros."""
        calls = []

        class Branch(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.inner, self.outer = nn.Linear(32, 32), nn.Linear(32, 32)
                nn.init.zeros_(self.outer.weight)

            def forward(self, x_BF: Tensor) -> Tensor:
                grown: Tensor = x_BF + self.outer(torch.relu(self.inner(x_BF)))
                return grown

        def made() -> Training:
            seed_all(0)
            model = nn.Sequential(nn.Linear(8, 32), Branch(), Branch(), nn.Linear(32, 4))

            def loss(batch: Batch) -> Tensor:
                calls.append(1)
                return functional.cross_entropy(model(batch[0]), batch[1])

            return training(model, loss, 1e-3)

        noisy = Batches(lambda number, batch: rows(number, noise=8.0))
        plain = unguarded(made(), noisy, 200)
        calls.clear()
        run = Run(made(), noisy)
        assert run.go(200).applied_steps == 200
        assert run.heard.named("cure_tried") == []
        assert_same(everything(run.training)["parameters"], everything(plain)["parameters"])

    def test_a_higher_rate_amid_batches_that_are_left_out_outlives_them(self) -> None:
        """Those are left out for their labels; later ones are not left out for the rate, which does no harm."""

        def wrong(number: int, batch: tuple[Tensor, Tensor]) -> Batch:
            return (batch[0], (batch[1] + 1) % 4) if 150 <= number < 190 else batch

        run, applied = Run(classifier(), Batches(wrong)), []

        def faster(step: int) -> None:
            applied.append(run.guard.summary().applied_steps)
            run.training.optimizer.param_groups[0]["lr"] = 0.05 if step >= 180 else 0.01

        assert run.go(300, faster).status == "finished"
        assert applied[189] < 175
        # All that come after them count, but for those that the trial of the rate may have cost.
        assert applied[-1] - applied[192] == len(applied) - 193


class TestDamage:
    @pytest.mark.parametrize("how", ["redrawn", "head zeroed"])
    def test_of_a_loss_that_is_mostly_noise(self, how: str) -> None:
        """What cannot be learnt is most of it, so that a model that has lost everything has no multiple of its loss."""
        seed_all(0)
        model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 64))
        weights_FC = torch.randn(8, 64, generator=torch.Generator().manual_seed(1))

        def noisy(number: int, batch: Batch) -> Batch:
            draw = torch.Generator().manual_seed(number)
            chances_BC = torch.softmax(batch[0] @ weights_FC / 2, 1)
            return batch[0], torch.multinomial(chances_BC, 1, generator=draw).squeeze(1)

        run = Run(training(model, lambda b: functional.cross_entropy(model(b[0]), b[1]), 3e-3), Batches(noisy))

        def damage(step: int) -> None:
            if step == 500 and not run.heard.actions():
                with torch.no_grad():
                    for each in model if how == "redrawn" else [model[2]]:
                        if isinstance(each, nn.Linear) and how == "redrawn":
                            each.reset_parameters()
                        elif isinstance(each, nn.Linear):
                            each.weight.zero_()

        assert run.go(650, damage).status == "finished"
        assert run.heard.actions() == ["reload_checkpoint"]
        before, after = statistics.median(run.losses[460:500]), statistics.median(run.losses[-40:])
        assert after < before + 0.1

    @pytest.mark.parametrize("what", ["a buffer", "an attribute"])
    def test_of_a_model_that_counts_its_calls(self, what: str) -> None:
        class Counting(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.net = net()
                self.register_buffer("calls", torch.zeros(()))
                self.seen = 0

            def forward(self, x_BF: Tensor) -> Tensor:
                self.calls += what == "a buffer"
                self.seen += what == "an attribute"
                slow = 1 + 0.2 * torch.sin((self.calls + self.seen) / 5)
                logits: Tensor = self.net(x_BF) * slow
                return logits

        seed_all(0)
        model = Counting()
        run = Run(training(model, lambda b: functional.cross_entropy(model(b[0]), b[1])), Batches())

        def negate(step: int) -> None:
            if step == 400 and not run.heard.actions():
                with torch.no_grad():
                    model.net.get_parameter("2.weight").neg_()

        assert run.go(500, negate).status == "finished"
        assert run.heard.actions() == ["reload_checkpoint"]

    @pytest.mark.parametrize("updates", [1, 50])
    @pytest.mark.parametrize("factor", [100, 1000])
    def test_a_rate_that_jumps_costs_nothing_at_all(self, factor: float, updates: int) -> None:
        """It is found by the first update, is held at what it was, and the batch comes again."""
        run = Run(classifier(), Batches())

        def jump(step: int) -> None:
            run.training.optimizer.param_groups[0]["lr"] = 0.01 * (factor if 200 <= step < 200 + updates else 1)

        assert run.go(400, jump).status == "finished"
        assert run.heard.actions() == ["skip_batch"]
        assert {str(event.evidence.blame) for event in run.heard.named("decision")} == {"setup"}
        plain = unguarded(classifier(), Batches(), 399)
        assert_same(everything(run.training)["parameters"], everything(plain)["parameters"])
