"""Invariant 1: a healthy run is bit for bit what it would be without the guard (`..._grid.py` has the breadth)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from support.exact import assert_same, everything
from support.training import OPTIMIZERS, Training, build, guard_of, healthy_batches, quiet
from torch.optim.lr_scheduler import ReduceLROnPlateau
from torch.utils.data import DataLoader, TensorDataset

BATCHES = healthy_batches(10)
STEPS = 34
"""Three epochs and a part, past the first state checks, snapshots and promotions."""


def plain_loop(
    training: Training,
    data: Any = BATCHES,
    *,
    steps: int = STEPS,
    by_epoch: bool = False,
    max_norm: float | None = None,
    accumulate: int = 1,
) -> dict[str, Any]:
    """The loop that one writes by hand; gives everything at its end."""

    def schedule(metric: float) -> None:
        if isinstance(training.scheduler, ReduceLROnPlateau):
            training.scheduler.step(metric)
        elif training.scheduler is not None:
            training.scheduler.step()

    done, losses = 0, []
    while done < steps:
        iterator = iter(data)
        epoch_ended = False
        while done < steps and not epoch_ended:
            parts = []
            for batch in iterator:
                parts.append(batch)
                if len(parts) == accumulate:
                    break
            if not parts:
                break
            training.optimizer.zero_grad()
            total = 0.0
            for part in parts:
                loss = training.loss(part) / accumulate if accumulate > 1 else training.loss(part)
                loss.backward()
                total += loss.item()
            if max_norm is not None:
                torch.nn.utils.clip_grad_norm_(training.model.parameters(), max_norm)
            training.optimizer.step()
            done += 1
            losses.append(total)
            if not by_epoch:
                schedule(total)
            elif len(losses) == len(data):
                schedule(sum(losses) / len(losses))
                losses.clear()
                epoch_ended = True
    training.optimizer.zero_grad()
    return everything(training)


def guarded(training: Training, *, steps: int = STEPS, form: str = "run", **options: Any) -> dict[str, Any]:
    """The same under the guard; gives everything at its end."""
    guard = guard_of(training, options.pop("data", BATCHES), **options)
    if form == "run":
        summary = guard.run(steps)
        assert (summary.status, summary.applied_steps, summary.incidents) == ("finished", steps, 0)
    else:
        for batch in guard.batches(steps):
            outcome = guard.step(batch)
            assert outcome.applied
            assert outcome.signals == ()
            assert outcome.action is None
    return everything(training)


@pytest.mark.parametrize(("optimizer", "scheduler"), zip(OPTIMIZERS, ["none", "cosine", "plateau"], strict=True))
def test_both_forms_are_bit_identical(optimizer: str, scheduler: str) -> None:
    build_one = {"optimizer": optimizer, "scheduler": scheduler, "draws": True, "average": True}
    expected = plain_loop(build(**build_one))
    assert_same(guarded(build(**build_one)), expected)
    assert_same(guarded(build(**build_one), form="batches"), expected)


def test_a_run_directory_changes_nothing_and_neither_does_a_state_check_each_step(tmp_path: Path) -> None:
    policy = quiet(
        detect={"state_every_steps": 1},
        checkpoint={"every_steps": 5},
        snapshot={"every_steps": 3},
        probation_steps=2,
    )
    expected = plain_loop(build(scheduler="one_cycle", draws=True))
    training = build(scheduler="one_cycle", draws=True)
    assert_same(guarded(training, run_dir=tmp_path / "run", policy=policy), expected)


def test_the_built_in_policy_is_invisible_too() -> None:
    expected = plain_loop(build(scheduler="cosine"))
    assert_same(guarded(build(scheduler="cosine"), policy=None), expected)


@pytest.mark.parametrize("scheduler", ["step", "cosine", "plateau"])
@pytest.mark.parametrize("form", ["run", "batches"])
def test_a_schedule_by_epoch_steps_where_the_plain_loop_does(scheduler: str, form: str) -> None:
    expected = plain_loop(build(scheduler=scheduler), by_epoch=True)
    assert_same(guarded(build(scheduler=scheduler), scheduler_interval="epoch", form=form), expected)


def test_gradient_clip_is_clip_grad_norm() -> None:
    expected = plain_loop(build(), max_norm=0.1)
    found = guarded(build(), policy=quiet(gradient_clip={"max_norm": 0.1}))
    assert_same(found, expected)
    unclipped = plain_loop(build())
    with pytest.raises(AssertionError):
        assert_same(found, unclipped)


@pytest.mark.parametrize("form", ["run", "batches"])
def test_accumulated_batches_are_a_plain_accumulation_loop(form: str) -> None:
    expected = plain_loop(build(scheduler="lambda", draws=True), accumulate=2, steps=15)
    training = build(scheduler="lambda", draws=True)
    assert_same(guarded(training, accumulate=2, steps=15, form=form), expected)


def test_a_shuffling_loader_gives_the_same_batches_in_the_same_order() -> None:
    x_NF = torch.cat([batch[0] for batch in BATCHES])
    y_N = torch.cat([batch[1] for batch in BATCHES])

    def loader() -> DataLoader[Any]:
        return DataLoader(TensorDataset(x_NF, y_N), batch_size=8, shuffle=True)

    one = build(draws=True)
    expected = plain_loop(one, loader())
    other = build(draws=True)
    assert_same(guarded(other, data=loader()), expected)


@pytest.mark.parametrize("init_scale", [1.0, 1024.0])
def test_a_gradient_scaler_is_bit_identical(init_scale: float) -> None:
    def scaled() -> Training:
        training = build(scheduler="cosine")
        training.scaler = torch.amp.GradScaler("cpu", init_scale=init_scale, growth_interval=7)
        return training

    plain = scaled()
    for index in range(STEPS):
        plain.optimizer.zero_grad()
        plain.scaler.scale(plain.loss(BATCHES[index % 10])).backward()
        plain.scaler.unscale_(plain.optimizer)
        plain.scaler.step(plain.optimizer)
        plain.scaler.update()
        plain.scheduler.step()  # type: ignore[union-attr]
    assert_same(guarded(scaled()), everything(plain))


def test_evaluation_at_the_end_leaves_the_generators_alone() -> None:
    expected = plain_loop(build())
    training = build()

    def evaluate() -> dict[str, float]:
        return {"draw": float(torch.rand(()))}

    assert_same(guarded(training, evaluate=evaluate), expected)


def test_the_comparison_sees_a_difference_in_the_last_bit() -> None:
    training = build()
    before = everything(training)
    with torch.no_grad():
        weight = training.model.inner.weight  # type: ignore[union-attr]
        weight.view(-1)[5] = torch.nextafter(weight.view(-1)[5], torch.tensor(9.0))
    torch.rand(())
    with pytest.raises(AssertionError) as found:
        assert_same(everything(training), before)
    assert "parameters.inner.weight" in str(found.value)
    assert "rng.torch" in str(found.value)
