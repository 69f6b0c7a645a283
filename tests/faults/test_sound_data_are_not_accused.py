"""Acceptance: where the state or the way in which updates are made is at fault, no batch is blamed for it.

A fault that slips through with one update shows in the next: their batches look bad, and are as good as any.
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from support.exact import assert_same, everything, seed_all
from support.training import EventList, Training, guard_of
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.healthy_workloads import WORKLOADS
from energy_flow.energy_trainer import EnergyTrainer
from supervisor import Guard
from supervisor.faults import FaultInjector, FaultScript
from supervisor.training.rng import preserved_rng

from .test_experiments_on_strange_runs import Batches, Run, net, rows, training

ROOT = Path(__file__).resolve().parents[2]

AT, STEPS = 300, 450

Fault = Callable[[Training, int], None]
"""Called with the training and the updates since the fault began, before each of them."""


def blames(run: Run) -> set[str]:
    return {str(event.evidence.blame) for event in run.heard.named("decision") if event.evidence is not None}


def went_on(run: Run, fault: Fault, steps: int = STEPS) -> Any:
    """Train with a fault that comes at its time once, however often the run goes back."""
    count = -AT

    def before(_: int) -> None:
        nonlocal count
        fault(run.training, count)
        count += 1

    return run.go(steps, before)


def as_good_as_before(run: Run) -> bool:
    return statistics.median(run.losses[-50:]) < 1.3 * statistics.median(run.losses[AT - 50 : AT])


def nudged(size: float) -> Fault:
    """Moves all weights once, by so many times their root mean square."""

    def fault(made: Training, since: int) -> None:
        if since == 0:
            draw = torch.Generator().manual_seed(1)
            with torch.no_grad():
                for each in made.model.parameters():
                    each.add_(size * each.square().mean().sqrt() * torch.randn(each.shape, generator=draw))

    return fault


def first_moments(factor: float) -> Fault:
    """Makes the optimizer's moving averages of the gradients so many times as large, once."""

    def fault(made: Training, since: int) -> None:
        if since == 0:
            for state in made.optimizer.state.values():
                state["exp_avg"].mul_(factor)

    return fault


class TestMoments:
    """Any batch does harm with them."""

    @pytest.mark.parametrize("name", ["GRU, text", "transformer, text", "dropout 0.5"])
    def test_that_are_damaged_cost_no_batch(self, name: str) -> None:
        made = WORKLOADS[name](0)
        subject = Training(made.model, made.optimizer, made.scheduler, made.loss, {})

        class Data:
            def __iter__(self) -> Any:
                return made.batches

        run = Run(subject, Data())
        assert went_on(run, first_moments(30.0)).status == "finished"
        # Where they do little harm, training makes up for it.
        assert blames(run) <= {"state"}
        assert set(run.heard.actions()) <= {"reload_checkpoint"}
        assert run.heard.named("data_shift") == []
        assert as_good_as_before(run)


class Hidden:
    """Multiplies the rate inside of the optimizer's step, where nobody sees it."""

    def __init__(self, optimizer: torch.optim.Optimizer, factor: float) -> None:
        self.factor, self.on = factor, False
        self.nominal: list[Any] = []
        optimizer.register_step_pre_hook(self.before)
        optimizer.register_step_post_hook(self.after)

    def before(self, optimizer: Any, *_: Any) -> None:
        self.nominal = [group["lr"] for group in optimizer.param_groups]
        for group in optimizer.param_groups:
            group["lr"] *= self.factor if self.on else 1.0

    def after(self, optimizer: Any, *_: Any) -> None:
        for group, rate in zip(optimizer.param_groups, self.nominal, strict=True):
            group["lr"] = rate


@pytest.mark.parametrize(("factor", "updates"), [(10.0, 1), (10.0, 5), (10.0, 50), (30.0, 5), (100.0, 3)])
@pytest.mark.parametrize("drawn", [True, False], ids=["guard draws", "caller draws"])
def test_a_rate_that_nobody_sees_costs_no_batch(factor: float, updates: int, drawn: bool) -> None:
    seed_all(0)
    made = regression()
    rate = Hidden(made.optimizer, factor)
    run = Run(made, Regression()) if drawn else OwnLoop(made, Regression())

    def fault(_: Training, since: int) -> None:
        rate.on = 0 <= since < updates

    # A policy that halts raises.
    went_on(run, fault)
    assert run.guard.steps_done == STEPS
    assert "data" not in blames(run)
    assert as_good_as_before(run)


class OwnLoop(Run):
    """One whose batches the guard does not draw."""

    def __init__(self, made: Training, data: Iterable[Any]) -> None:
        super().__init__(made, ())
        self.guard, self.data = guard_of(made, policy={}, listeners=[self.heard], quiet=True), iter(data)

    def go(self, steps: int, before: Callable[[int], object] = lambda step: None) -> Any:
        while self.guard.steps_done < steps:
            before(self.guard.steps_done)
            self.losses.append(self.guard.step(next(self.data)).loss)
        return self.guard.summary()


class Regression:
    """Fresh noisy points of one linear map; most of the loss is noise that cannot be learnt."""

    def __iter__(self) -> Any:
        draw = torch.Generator().manual_seed(3)
        weights_FO = torch.randn(16, 8, generator=draw)
        while True:
            x_BF = torch.randn(64, 16, generator=draw)
            yield x_BF, x_BF @ weights_FO + 2.0 * torch.randn(64, 8, generator=draw)


def regression() -> Training:
    model = nn.Sequential(nn.Linear(16, 64), nn.Tanh(), nn.Linear(64, 8))
    return training(model, lambda batch: functional.mse_loss(model(batch[0]), batch[1]), 0.003)


class OfAnyScale(nn.Module):
    """Its loss is the same whatever the scale of the first weights; the gradients are not."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(8, 32, bias=False), nn.Linear(32, 4)
        self.norm = nn.LayerNorm(32, eps=0.0, elementwise_affine=False)

    def forward(self, x_BF: Tensor) -> Tensor:
        logits: Tensor = self.last(functional.relu(self.norm(self.first(x_BF))))
        return logits


class TestGradients:
    """Canaries are asked for their losses, which say nothing of these."""

    @pytest.mark.parametrize("factor", [0.1, 0.01, 1e-4])
    def test_that_are_extreme_for_any_batch_are_the_states(self, factor: float) -> None:
        seed_all(0)
        model = OfAnyScale()
        run = Run(training(model, lambda batch: functional.cross_entropy(model(batch[0]), batch[1])), Batches())

        def fault(_: Training, since: int) -> None:
            if since == 0:
                with torch.no_grad():
                    model.first.weight.mul_(factor)

        assert went_on(run, fault).status == "finished"
        assert blames(run) <= {"unknown", "state"}
        assert [each for each in run.heard.actions() if each != "skip_batch"] == ["reload_checkpoint"]
        assert run.guard.summary().bad_batches == 0
        assert as_good_as_before(run)

    def test_that_are_not_finite_for_any_batch_are_the_states(self) -> None:
        seed_all(0)
        model, length = net(), nn.Parameter(torch.ones(3))
        model.register_parameter("length", length)
        made = training(model, lambda b: functional.cross_entropy(model(b[0]), b[1]) + 1e-3 * length.norm().sqrt())
        run = Run(made, Batches())

        def fault(_: Training, since: int) -> None:
            if since == 0:
                with torch.no_grad():
                    length.zero_()

        assert went_on(run, fault).status == "finished"
        assert blames(run) <= {"unknown", "state"}
        assert [each for each in run.heard.actions() if each != "skip_batch"] == ["reload_checkpoint"]
        assert run.guard.summary().bad_batches == 0
        assert torch.isfinite(length).all()
        assert length.abs().sum() > 0

    def test_that_are_bad_at_one_step_whatever_comes_cost_one_batch(self) -> None:
        run = Run(classifier(), Batches())
        weight = next(iter(run.training.model.parameters()))
        weight.register_hook(lambda gradient: 1e4 * gradient if run.guard.steps_done == AT else gradient)
        assert run.go(STEPS).status == "finished"
        assert run.heard.actions() == ["skip_batch"]
        assert run.guard.summary().skipped_steps == 1


class TestBadDataAfterALittleDamage:
    """What is bad by itself is blamed all the same, and nothing else is."""

    @pytest.mark.parametrize("size", [0.1, 0.3, 0.5])
    def test_one_batch(self, size: float) -> None:
        run = Run(classifier(), Batches(lambda n, b: (30 * b[0], (b[1] + 1) % 4) if n == AT + 1 else b))
        summary = went_on(run, nudged(size))
        assert summary.status == "finished"
        assert summary.skipped_steps == 1
        assert blames(run) == {"data"}
        assert as_good_as_before(run)

    @pytest.mark.parametrize("size", [0.0, 0.1, 0.3, 0.4])
    def test_many_with_wrong_labels(self, size: float) -> None:
        wrong = range(AT + 1, AT + 30)
        run = Run(classifier(), Batches(lambda n, b: (b[0], (b[1] + 1) % 4) if n in wrong else b))
        summary = went_on(run, nudged(size))
        assert summary.status == "finished"
        assert summary.skipped_steps == len(wrong)
        assert blames(run) == {"data"}
        assert as_good_as_before(run)


def classifier() -> Training:
    seed_all(0)
    model = net()
    return training(model, lambda batch: functional.cross_entropy(model(batch[0]), batch[1]))


def test_the_default_job_under_a_rate_that_nobody_sees_goes_on() -> None:
    """Each of the updates harms a little, so that the next batches are odd, and would do harm at that rate."""
    job = yaml.safe_load((ROOT / "configs" / "jobs" / "energy_flow.yaml").read_text(encoding="utf-8"))
    steps = 190
    with preserved_rng():
        trainer = EnergyTrainer.from_config(job["config"], seed=7, steps=250)
        fault = {"kind": "lr_spike", "at_batch": 150, "factor": 10.5, "batches": 5}
        injector = FaultInjector(FaultScript.model_validate({"version": 1, "faults": [fault]}).faults, trainer)
        heard = EventList()
        guard = Guard(
            model=trainer.model,
            optimizer=trainer.optimizer,
            loss=injector.loss,
            data=injector.data,
            scheduler=trainer.scheduler,
            on_gradients=trainer.on_gradients,
            listeners=[heard],
            quiet=True,
        )
        injector.batches_drawn = lambda: guard.batches_drawn
        losses = [guard.step(batch).loss for batch in guard.batches(steps)]
    assert [event for event in heard.named("decision") if event.evidence and event.evidence.blame == "data"] == []
    assert guard.summary().skipped_steps <= 5
    assert statistics.median(losses[-20:]) < 1.1 * statistics.median(losses[130:150])


class WithAverage(nn.Module):
    """Counts the batches that it sees and draws noise, beside running statistics."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(8, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.1), nn.Linear(32, 4))

    def forward(self, x_BF: Tensor) -> Tensor:
        logits: Tensor = self.layers(x_BF)
        return logits


def test_a_stretch_that_is_undone_is_undone_with_its_statistics_and_generators() -> None:
    """What the passes of its earlier updates have changed goes with their weights."""
    seed_all(0)
    model = WithAverage()
    wrong = range(AT, AT + 30)
    made = training(model, lambda batch: functional.cross_entropy(model(batch[0]), batch[1]))
    run = Run(made, Batches(lambda n, b: (3 * b[0], (b[1] + 1) % 4) if n in wrong else b))
    pins: dict[int, dict[str, Any]] = {}

    for batch in run.guard.batches(AT + 20):
        pins[run.guard.steps_done] = everything(made)
        outcome = run.guard.step(batch)
        undone = [each for each in run.heard.named("decision") if each.evidence and each.evidence.gone_back_over]
        if undone:
            break
    (decision,) = undone
    assert not outcome.applied
    assert decision.evidence.gone_back_over > 0
    first = max(pins) - decision.evidence.gone_back_over
    assert_same(everything(made), pins[first])


class TestClippedBySomebodyElse:
    """The control makes updates as large as those of the training, whoever clips them."""

    @pytest.mark.parametrize("by_hook", [True, False])
    def test_bad_data_are_blamed(self, by_hook: bool) -> None:
        seed_all(0)
        model = net()
        made = training(model, lambda batch: functional.cross_entropy(model(batch[0]), batch[1]))
        made.optimizer = torch.optim.SGD(model.parameters(), lr=8.0)

        def clip(*_: object) -> None:
            nn.utils.clip_grad_norm_(model.parameters(), 0.02)

        wrong = range(AT, AT + 40)
        data = Batches(lambda n, b: (b[0], (b[1] + 1) % 4) if n in wrong else b)
        if by_hook:
            run = Run(made, data, on_gradients=clip)
            summary = run.go(STEPS)
        else:
            run = OwnLoop(made, data)
            guard, own = run.guard, iter(data)
            guard.begin(STEPS)
            while guard.steps_done < STEPS:
                batch = next(own)
                guard.before_batch(batch)
                loss = made.loss(batch)
                torch.autograd.backward(loss)
                if guard.after_backward(loss).apply:
                    clip()
                    with guard.applying():
                        made.optimizer.step()
                    guard.after_step()
            summary = guard.summary()
        assert summary.skipped_steps > 0
        assert blames(run) == {"data"}


def test_an_odd_batch_that_stands_is_no_measure_of_later_ones() -> None:
    """It lies at a snapshot, whose first batch the diagnosis runs again beside those that are flagged later."""
    run = Run(classifier(), Batches(lambda n, b: (b[0], (b[1] + 1) % 4) if n == AT else b))
    outcomes = [run.guard.step(batch) for batch in run.guard.batches(AT + 1)]
    assert outcomes[-1].applied
    assert (run.heard.named("experiment")[-1].update, run.heard.named("experiment")[-1].kind) == (AT, "trial")
    newest = run.guard.parts.step.canaries.newest()
    assert newest is not None
    assert torch.equal(newest[0][0], rows(AT - 20)[0])


@pytest.mark.parametrize("sparse", [False, True])
def test_bad_data_are_blamed_where_gradients_are_sparse(sparse: bool) -> None:
    seed_all(0)
    model = nn.Sequential(nn.EmbeddingBag(40, 16, sparse=sparse), nn.Linear(16, 4))
    optimizer = torch.optim.SGD(model.parameters(), lr=2.0)

    def loss(batch: Any) -> Tensor:
        return functional.cross_entropy(model(batch[0]), batch[1])

    class Words:
        def __iter__(self) -> Any:
            draw = torch.Generator().manual_seed(1)
            for number in itertools.count():
                words_BL = torch.randint(0, 40, (64, 3), generator=draw)
                label_B = words_BL[:, 0] // 10
                yield words_BL, (label_B + 1) % 4 if AT <= number < AT + 30 else label_B

    run = Run(Training(model, optimizer, None, loss, {}), Words())
    summary = run.go(STEPS)
    assert summary.status == "finished"
    assert summary.skipped_steps >= 25
    assert blames(run) == {"data"}
