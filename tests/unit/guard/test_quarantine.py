"""The bad sample of a data set costs one step, once."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from support.exact import assert_same, everything
from support.training import EventList, build, guard_of, healthy_batches, quiet
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchdata.stateful_dataloader import StatefulDataLoader

from energy_flow.energy_trainer import EnergyTrainer
from energy_flow.pairs import PairDataset
from energy_flow.pairs import loader as pair_loader
from supervisor import Guard
from supervisor.errors import InputError

X = torch.cat([batch[0] for batch in healthy_batches(8)])
Y = torch.cat([batch[1] for batch in healthy_batches(8)])


class Rows(Dataset[tuple[Tensor, Tensor]]):
    """Rows some of which are bad: not finite, or too large to be squared."""

    def __init__(self, bad: dict[int, float]) -> None:
        self.x = X.clone()
        for row, value in bad.items():
            self.x[row] = value

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self.x[index], Y[index]


def loader(bad: dict[int, float], kind: Any = DataLoader, **options: Any) -> Any:
    generator = torch.Generator().manual_seed(2)
    return kind(Rows(bad), batch_size=8, shuffle=True, generator=generator, **options)


BAD = {5: math.nan, 41: math.inf, 50: 3e38}


def in_three_batches(kind: Any, workers: int) -> dict[int, float]:
    """A bad row in each of three batches of the first epoch."""
    x = Rows({}).x
    order = [
        [int((x == row).all(1).nonzero()[0, 0]) for row in batch[0]] for batch in loader({}, kind, num_workers=workers)
    ]
    return dict(zip((order[2][3], order[4][0], order[6][7]), BAD.values(), strict=True))


@pytest.mark.parametrize("kind", [DataLoader, StatefulDataLoader])
@pytest.mark.parametrize("workers", [0, 2])
def test_each_bad_sample_strikes_once_and_never_again(kind: Any, workers: int, tmp_path: Path) -> None:
    bad = in_three_batches(kind, workers)
    training, heard = build(), EventList()
    seen: list[Tensor] = []

    def loss(batch: Any) -> Tensor:
        seen.append(batch[0])
        return training.loss(batch)

    data = loader(bad, kind, num_workers=workers)
    guard = guard_of(training, data, loss=loss, listeners=[heard], run_dir=tmp_path / "run")
    first_epoch = [guard.step(batch).applied for batch in guard.batches(8)]
    assert [step for step, applied in enumerate(first_epoch) if not applied] == [2, 4, 6]
    assert {index for event in heard.named("quarantined") for index in event.dataset_indices} == set(bad)
    seen.clear()
    assert all(guard.step(batch).applied for batch in guard.batches(40))
    assert all(bool(torch.isfinite(x).all()) and float(x.abs().max()) < 1e30 for x in seen)
    assert sum(len(x) for x in seen) == 4 * (64 - len(bad))
    guard.close()
    lines = (tmp_path / "run" / "quarantine.jsonl").read_text(encoding="utf-8").splitlines()
    assert {json.loads(line)["index"] for line in lines} == set(bad)
    # The next run never sees them.
    training = build()
    summary = guard_of(training, loader(bad, kind), quarantine=tmp_path / "run" / "quarantine.jsonl").run(40)
    assert (summary.applied_steps, summary.skipped_steps, summary.incidents) == (40, 0, 0)


def test_a_run_that_knows_the_list_is_the_run_over_the_other_samples(tmp_path: Path) -> None:
    listed = tmp_path / "list.jsonl"
    listed.write_text('{"index": 5}\n\n{"index": 41, "reason": "a person said so"}\n', encoding="utf-8")
    training = build(draws=True)
    guard_of(training, loader({5: math.nan, 41: math.inf}), quarantine=listed).run(16)
    found = everything(training)
    plain, data = build(draws=True), loader({5: math.nan, 41: math.inf})
    for _ in range(2):
        for x, y in data:
            kept = torch.isfinite(x).all(1)
            plain.optimizer.zero_grad()
            plain.loss((x[kept], y[kept])).backward()
            plain.optimizer.step()
    assert_same(found, everything(plain))


@pytest.mark.parametrize("kind", [DataLoader, StatefulDataLoader])
@pytest.mark.parametrize("broken_at", [9, 12, 18])
def test_a_resume_goes_on_with_the_same_samples_left_out(kind: Any, broken_at: int, tmp_path: Path) -> None:
    policy = quiet(checkpoint={"every_steps": 3}, snapshot={"every_steps": 4}, cooldown_steps=2, probation_steps=1)
    expected = build(draws=True)
    guard_of(expected, loader(BAD, kind), policy=policy, run_dir=tmp_path / "whole").run(30)
    first = build(draws=True)
    guard = guard_of(first, loader(BAD, kind), policy=policy, run_dir=tmp_path / "run")
    guard.run(broken_at)
    guard.close()
    second = build(seed=9, draws=True)
    guard_of(second, loader(BAD, kind), policy=policy, run_dir=tmp_path / "run", resume=True).run(30)
    assert_same(everything(second), everything(expected))
    same = [(tmp_path / run / "quarantine.jsonl").read_text(encoding="utf-8") for run in ("whole", "run")]
    assert same[0] == same[1]


def test_a_reload_that_reads_the_batches_again_leaves_the_sample_out_at_once() -> None:
    ladder = [{"action": "reload_checkpoint", "data": "replay"}]
    policy = quiet(ladder=ladder, snapshot={"every_steps": 2}, probation_steps=1, cooldown_steps=2)
    training, heard = build(), EventList()
    summary = guard_of(training, loader({5: math.nan}), policy=policy, listeners=[heard]).run(30)
    assert heard.actions() == ["reload_checkpoint"]
    assert summary.applied_steps == 30


@pytest.mark.parametrize("policy", [quiet(diagnose={"quarantine": False}), quiet(diagnose={"enabled": False})])
def test_nothing_is_left_out_where_the_policy_says_so(policy: Any, tmp_path: Path) -> None:
    training, heard = build(), EventList()
    summary = guard_of(training, loader({5: math.nan}), policy=policy, listeners=[heard], run_dir=tmp_path / "run").run(
        24
    )
    assert summary.skipped_steps == 3
    assert heard.named("quarantined") == []
    assert not (tmp_path / "run" / "quarantine.jsonl").exists()


def test_samples_of_accumulated_batches_are_found_among_all_of_them() -> None:
    training, heard = build(), EventList()
    guard = guard_of(training, loader({5: math.nan}), accumulate=2, listeners=[heard])
    summary = guard.run(12)
    assert [event.dataset_indices for event in heard.named("quarantined")] == [(5,)]
    assert summary.skipped_steps == 1


def test_energy_flow_leaves_out_its_bad_pair() -> None:
    trainer = EnergyTrainer.from_config({"lattice_width": 4, "lattice_height": 4, "lattice_depth": 4}, seed=3)
    pairs = PairDataset(trainer.pairs.question_NE[:96].clone(), trainer.pairs.answer_NE[:96])
    pairs.question_NE[77] = math.nan
    data = pair_loader(pairs, batch_size=32, seed=3)
    heard = EventList()
    guard = Guard(
        model=trainer.model,
        optimizer=trainer.optimizer,
        loss=trainer.loss,
        data=data,
        sanitized=trainer.sanitized,
        policy=quiet(),
        listeners=[heard],
    )
    summary = guard.run(2 * len(data))
    assert [event.dataset_indices for event in heard.named("quarantined")] == [(77,)]
    assert summary.skipped_steps == 1


@pytest.mark.parametrize(
    ("text", "problem"),
    [("not json\n", ":1: is no quarantined sample"), ('{"index": 1}\n{"row": 2}\n', ":2: is no quarantined sample")],
)
def test_a_wrong_list_is_refused_with_its_line(text: str, problem: str, tmp_path: Path) -> None:
    listed = tmp_path / "list.jsonl"
    listed.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=problem):
        guard_of(build(), loader({}), quarantine=listed)
    with pytest.raises(InputError, match="cannot be read"):
        guard_of(build(), loader({}), quarantine=tmp_path / "missing.jsonl")
