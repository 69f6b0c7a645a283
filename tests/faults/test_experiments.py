"""Acceptance: what an experiment finds out about a fault, and that nothing is lost beside what the fault itself costs.

Each run is that of the default policy, but for what a test says.
"""

from __future__ import annotations

import itertools
import math
import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from support.exact import assert_finite, assert_same, everything, seed_all
from support.training import EventList, Training, build, guard_of, healthy_batches, nan_batch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from supervisor import Guard
from supervisor.guard.outcome import StepOutcome

Batch = tuple[Tensor, Tensor]

AT = 40
"""The update at which a fault begins."""

BATCHES = healthy_batches(160)


def plain(batches: Iterable[Any], **kind: Any) -> Training:
    """The same training without a guard, over these batches alone."""
    training = build(**kind)
    for batch in batches:
        training.optimizer.zero_grad()
        torch.autograd.backward(training.loss(batch))
        training.optimizer.step()
    return training


@dataclass
class Run:
    """A guarded training, and what came of it."""

    training: Training
    guard: Guard
    heard: EventList
    outcomes: list[StepOutcome] = field(default_factory=list)

    def go(self, steps: int, before: Callable[[int], object] = lambda update: None) -> Any:
        """To the end; `before` is called with the number of each update. Gives the summary."""
        for update, batch in enumerate(self.guard.batches(steps)):
            before(update)
            self.outcomes.append(self.guard.step(batch))
        return self.guard.summary()

    def blames(self) -> set[str]:
        return {str(event.evidence.blame) for event in self.heard.named("decision") if event.evidence is not None}

    def refused(self) -> list[int]:
        """The updates that do not stand."""
        return [update for update, outcome in enumerate(self.outcomes) if not outcome.applied]


def run_of(data: Iterable[Any], training: Training | None = None, **options: Any) -> Run:
    training, heard = training or build(), EventList()
    options.setdefault("policy", {})
    return Run(training, guard_of(training, data, listeners=[heard], quiet=True, **options), heard)  # type: ignore[arg-type]


def nan_from(first: int, count: int, batches: Sequence[Batch] = BATCHES) -> list[Batch]:
    return [nan_batch(b) if first <= number < first + count else b for number, b in enumerate(batches)]


def spoil(training: Training, parameter: str) -> None:
    """One of its weights becomes NaN."""
    with torch.no_grad():
        dict(training.model.named_parameters())[parameter][0, 0] = math.nan


class TestBadBatches:
    def test_thirty_in_a_row_cost_exactly_those_and_are_one_incident(self) -> None:
        run = run_of(nan_from(AT, 30))
        assert run.guard.run(160).status == "finished"
        assert_same(everything(run.training), everything(plain([*BATCHES[:AT], *BATCHES[AT + 30 :]])))
        assert len(run.heard.named("incident_opened")) == 1
        assert run.heard.actions() == ["skip_batch"] * 30
        assert run.blames() == {"data"}

    def test_a_hundred_in_a_row_halt_in_the_present_state(self) -> None:
        run = run_of(nan_from(AT, 100))
        summary = run.guard.run(160)
        assert summary.status == "halted"
        assert_same(everything(run.training), everything(plain(BATCHES[:AT])))
        assert run.heard.actions() == ["skip_batch"] * 50 + ["halt"]
        assert "51 bad batches in a row" in run.heard.named("run_halted")[0].reason
        assert "bad_data.in_a_row allows 50" in run.heard.named("run_halted")[0].reason

    @pytest.mark.parametrize("source", ["list", "generator", "endless cycle"])
    def test_one_in_eight_costs_one_in_eight(self, source: str) -> None:
        batches = [nan_batch(b) if number % 8 == 7 else b for number, b in enumerate(BATCHES[:80])]
        epochs = 1 if source == "generator" else 2
        data: dict[str, Iterable[Batch]] = {
            "list": batches,
            "generator": (batch for batch in batches),
            "endless cycle": itertools.cycle(batches),
        }
        run = run_of(data[source])
        assert run.guard.run(80 * epochs).status == "finished"
        healthy = [b for number, b in enumerate(BATCHES[:80]) if number % 8 < 7]
        assert_same(everything(run.training), everything(plain(healthy * epochs)))
        assert run.heard.actions() == ["skip_batch"] * 10 * epochs

    def test_without_experiments_a_hundred_climb_the_ladder_rung_by_rung(self) -> None:
        run = run_of(nan_from(AT, 100), policy={"experiments": None})
        assert run.guard.run(160).status == "halted"
        rungs = [event.rung for event in run.heard.named("decision")]
        ladder = [rung.action.value for rung in run.guard.policy.ladder]
        assert rungs == sorted(rungs)
        # Nothing is recurrent, and no module is to blame.
        assert [ladder[rung] for rung in dict.fromkeys(rungs)] == [each for each in ladder if each != "reinitialize"]
        assert run.heard.actions()[:3] == ["skip_batch"] * 3
        assert run.heard.named("experiment") == []


class Rows(Dataset[dict[str, Any]]):
    """240 rows that tell their index."""

    def __len__(self) -> int:
        return 240

    def __getitem__(self, index: int) -> dict[str, Any]:
        x_BF, y_B = BATCHES[index // 8]
        return {"index": index, "x": x_BF[index % 8], "y": y_B[index % 8]}


def test_one_raising_row_is_quarantined_and_the_rest_of_its_batch_comes_again() -> None:
    training = build()

    def loss(batch: dict[str, Any]) -> Tensor:
        if 77 in batch["index"].tolist():
            raise ValueError("a row that cannot be read")
        return nn.functional.cross_entropy(training.model(batch["x"]), batch["y"])

    seen: list[list[int]] = []
    run = run_of(DataLoader(Rows(), batch_size=8), training, loss=loss)
    for batch in run.guard.batches(91):
        seen.append(batch["index"].tolist())
        run.outcomes.append(run.guard.step(batch))
    assert run.guard.summary().status == "finished"
    assert run.refused() == [9]
    assert seen[9] == list(range(72, 80))
    assert seen[10] == [72, 73, 74, 75, 76, 78, 79]
    # Every other row was used in each of three epochs, and the bad one never came again.
    rows = Counter(row for number, batch in enumerate(seen) if number != 9 for row in batch)
    assert rows == dict.fromkeys(set(range(240)) - {77}, 3)
    (event,) = run.heard.named("quarantined")
    assert event.dataset_indices == (77,)


def test_a_program_that_raises_from_some_step_on_halts_in_the_present_state() -> None:
    training = build()

    def loss(batch: Batch) -> Tensor:
        if run.guard.steps_done >= AT:
            raise KeyError("no such column")
        return training.loss(batch)

    run = run_of(BATCHES, training, loss=loss)
    assert run.guard.run(160).status == "halted"
    assert run.blames() == {"code"}
    assert run.heard.actions() == ["halt"]
    assert_same(everything(training), everything(plain(BATCHES[:AT])))


@pytest.mark.parametrize("kind", ["raises", "is not a number"])
def test_after_a_fault_that_does_not_come_again_the_batch_does(kind: str) -> None:
    training, calls = build(), itertools.count()

    def loss(batch: Batch) -> Tensor:
        value = training.loss(batch)
        if next(calls) != AT:
            return value
        if kind == "raises":
            raise RuntimeError("a device was not ready")
        return value * math.nan

    run = run_of(BATCHES, training, loss=loss)
    # The discarded update uses up a step.
    assert run.guard.run(161).status == "finished"
    assert run.blames() == {"machine"}
    assert run.heard.actions() == ["skip_batch"]
    assert run.heard.named("decision")[0].retry
    assert_same(everything(training), everything(plain(BATCHES)))


class TestDamagedState:
    @pytest.mark.parametrize("keep", [0, 3])
    @pytest.mark.parametrize("at", [30, 60, 140])
    def test_one_weight_that_is_not_a_number_takes_one_reload(self, at: int, keep: int, tmp_path: Path) -> None:
        run = run_of(BATCHES, policy={"snapshot": {"keep": keep}}, run_dir=tmp_path / "run")

        def poison(update: int) -> None:
            if update == at:
                spoil(run.training, "outer.weight")

        assert run.go(150, poison).status == "finished"
        assert run.heard.actions() == ["reload_checkpoint"]
        assert run.refused() == [at]
        assert_finite(run.training)

    def test_a_reload_takes_the_windows_back_so_that_an_ordinary_early_loss_is_ordinary(self, tmp_path: Path) -> None:
        """The run comes back to its beginning, where losses are far above those of the trained model."""
        run = run_of(learnable(), softmax(), policy={"snapshot": {"keep": 0}}, run_dir=tmp_path / "run")

        def poison(update: int) -> None:
            if update == 200:
                spoil(run.training, "weight")

        assert run.go(250, poison).status == "finished"
        assert run.outcomes[201].loss > 4 * run.outcomes[199].loss
        assert run.heard.actions() == ["reload_checkpoint"]
        assert run.refused() == [200]
        assert [event for event in run.heard.named("signal") if event.update > 200] == []


def softmax(lr: float = 0.1, *, adam: bool = True, seed: int = 0) -> Training:
    """A linear classifier."""
    seed_all(seed)
    model = nn.Linear(6, 3)
    made = torch.optim.Adam if adam else torch.optim.SGD
    optimizer = made(model.parameters(), lr=lr)

    def loss(batch: Batch) -> Tensor:
        return nn.functional.cross_entropy(model(batch[0]), batch[1])

    return Training(model, optimizer, None, loss)


def learnable(noise: float = 0.0, seed: int = 3, change: Callable[[int, Batch, Tensor], Batch] | None = None) -> Any:
    """Batches without end; `noise` makes the labels partly chance, and `change` changes the batch of a number."""
    return _Learnable(noise, seed, change)


class _Learnable:
    def __init__(self, noise: float, seed: int, change: Callable[[int, Batch, Tensor], Batch] | None) -> None:
        self.noise, self.seed, self.change = noise, seed, change

    def __iter__(self) -> Iterator[Batch]:
        draw = torch.Generator().manual_seed(self.seed)
        weights_FC = torch.randn(6, 3, generator=draw)
        for number in itertools.count():
            x_BF = torch.randn(32, 6, generator=draw)
            scores_BC = x_BF @ weights_FC + self.noise * torch.randn(32, 3, generator=draw)
            chance_B = torch.randint(0, 3, (32,), generator=draw)
            batch = x_BF, scores_BC.argmax(1)
            yield batch if self.change is None else self.change(number, batch, chance_B)


def accuracy(training: Training) -> float:
    x_BF, y_B = next(iter(learnable(seed=3)))
    with torch.no_grad():
        return float((training.model(x_BF).argmax(1) == y_B).float().mean())


class TestFinite:
    """Every number is finite: canaries alone tell."""

    @pytest.mark.parametrize("adam", [True, False], ids=["adam", "sgd"])
    def test_a_rate_that_jumps_is_found_within_two_updates(self, adam: bool) -> None:
        rate = 0.02 if adam else 0.2
        run = run_of(learnable(0.5), softmax(rate, adam=adam))

        def jump(update: int) -> None:
            factor = 1000 if 150 <= update < 155 else 1
            run.training.optimizer.param_groups[0]["lr"] = factor * rate

        assert run.go(300, jump).status == "finished"
        assert 150 <= run.refused()[0] <= 152
        assert accuracy(run.training) > 0.8
        assert_finite(run.training)

    def test_wrong_labels_are_left_out_and_not_learnt(self) -> None:
        def wrong(number: int, batch: Batch, chance_B: Tensor) -> Batch:
            return (batch[0], (batch[1] + 1) % 3) if 150 <= number < 210 else batch

        policy = {"experiments": {"bad_data": {"in_a_row": 100, "share": 0.5}}}
        run = run_of(learnable(0.5, change=wrong), softmax(0.05), policy=policy)
        assert run.go(300).status == "finished"
        assert set(run.refused()) <= set(range(150, 210))
        # Those that were accepted at first, and that it went back over, included.
        assert 58 <= run.guard.summary().skipped_steps <= 60
        assert set(run.heard.actions()) == {"skip_batch"}
        assert run.blames() == {"data"}
        assert run.heard.named("data_shift") == []
        before, after = (statistics.median(o.loss for o in run.outcomes[n : n + 40]) for n in (110, 210))
        assert after < 1.5 * before
        assert accuracy(run.training) > 0.8

    def test_harder_batches_cost_nothing_and_are_a_change_of_the_data(self) -> None:
        def harder(number: int, batch: Batch, chance_B: Tensor) -> Batch:
            labels_B = torch.where(torch.arange(32) < 24, chance_B, batch[1])
            return (batch[0], labels_B) if number >= 150 else batch

        run = run_of(learnable(0.3, change=harder), softmax(0.005))
        assert run.go(300).status == "finished"
        assert run.refused() == []
        assert len(run.heard.named("data_shift")) == 1
        assert run.heard.named("incident_opened") == []
