"""A training that goes on without learning: warned of once, on record and on stderr."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from support.training import EventList, build, guard_of, healthy_batches
from torch import nn
from torch.optim.lr_scheduler import (
    CosineAnnealingWarmRestarts,
    LambdaLR,
    LRScheduler,
    OneCycleLR,
    ReduceLROnPlateau,
    StepLR,
)

BATCHES = healthy_batches(12)


def warnings_of(guard: Any, heard: EventList, steps: int) -> list[Any]:
    guard.run(steps)
    return heard.named("warning")


def test_a_loss_of_which_every_label_is_masked_is_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    training, heard = build(), EventList()

    def loss(batch: Any) -> torch.Tensor:
        x_BF, y_B = batch
        masked = torch.full_like(y_B, -100)
        return nn.functional.cross_entropy(training.model(x_BF), masked, ignore_index=-100, reduction="sum")

    (warning,) = warnings_of(guard_of(training, BATCHES, loss=loss, listeners=[heard]), heard, 700)
    assert (warning.step, warning.update) == (299, 299)
    assert warning.message.startswith("the loss has been exactly 0 for 300 updates in a row: everything is learnt, or")
    assert capsys.readouterr().err == f"supervisor: step 299  warning: {warning.message}\n"


def test_an_optimizer_of_another_models_parameters_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    """One that holds none of them is refused; this one holds a layer that the loss does not use."""
    training, heard = build(model=lambda: nn.Sequential(nn.Linear(6, 3), nn.Linear(6, 3))), EventList()
    training.optimizer = torch.optim.SGD(training.model[1].parameters(), lr=0.1)

    def loss(batch: Any) -> torch.Tensor:
        return nn.functional.cross_entropy(training.model[0](batch[0]), batch[1])

    (warning,) = warnings_of(guard_of(training, BATCHES[:1], loss=loss, listeners=[heard]), heard, 320)
    assert "and whether the optimizer holds the model's parameters" in warning.message
    assert warning.message in capsys.readouterr().err


def noisy(training: Any) -> Any:
    """A loss that chance moves far more than learning does, as it is from one batch to the next."""
    generator = torch.Generator().manual_seed(0)
    return lambda batch: training.loss(batch) + 3 * torch.rand((), generator=generator)


def test_a_plateau_scheduler_that_is_handed_the_loss_of_every_batch_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    training, heard = build(), EventList()
    training.scheduler = ReduceLROnPlateau(training.optimizer, patience=10)
    guard = guard_of(training, BATCHES, loss=noisy(training), listeners=[heard])
    (warning,) = warnings_of(guard, heard, 400)
    assert training.optimizer.param_groups[0]["lr"] < 1e-6
    assert "ReduceLROnPlateau is handed the loss of every batch" in warning.message
    assert 'write scheduler_interval="epoch"' in warning.message
    assert warning.step < 200
    assert capsys.readouterr().err.splitlines() == [f"supervisor: step {warning.step}  warning: {warning.message}"]


def test_by_epochs_the_same_scheduler_leaves_a_rate_to_learn_with() -> None:
    training, heard = build(), EventList()
    training.scheduler = ReduceLROnPlateau(training.optimizer, patience=10)
    guard = guard_of(training, BATCHES, loss=noisy(training), listeners=[heard], scheduler_interval="epoch")
    assert warnings_of(guard, heard, 400) == []
    assert training.optimizer.param_groups[0]["lr"] > 1e-4


def test_a_plan_in_epochs_that_is_stepped_with_every_batch_is_said() -> None:
    training, heard = build(), EventList()
    training.scheduler = StepLR(training.optimizer, step_size=30, gamma=0.1)
    (warning,) = warnings_of(guard_of(training, BATCHES, listeners=[heard]), heard, 600)
    assert warning.message.startswith("the learning rate fell from 0.01 to 1e-08 within 201 steps and stays there")
    assert warning.step == 200


@pytest.mark.parametrize(
    "scheduler",
    [
        lambda optimizer: OneCycleLR(optimizer, max_lr=0.02, total_steps=600),
        lambda optimizer: CosineAnnealingWarmRestarts(optimizer, T_0=150),
        lambda optimizer: LambdaLR(optimizer, lambda step: min(1.0, step / 400)),
        lambda optimizer: LambdaLR(optimizer, lambda step: max(0.0, 1 - step / 500)),
    ],
    ids=["one cycle", "restarts", "warm-up", "linear to zero"],
)
def test_a_schedule_that_is_meant_is_not_said(scheduler: Any, capsys: pytest.CaptureFixture[str]) -> None:
    training, heard = build(), EventList()
    made: LRScheduler = scheduler(training.optimizer)
    training.scheduler = made
    assert warnings_of(guard_of(training, BATCHES, listeners=[heard]), heard, 600) == []
    assert capsys.readouterr().err == ""


def test_a_resumed_run_knows_where_it_ends(tmp_path: Any) -> None:
    def guard(steps: int, **options: Any) -> list[Any]:
        training, heard = build(), EventList()
        training.scheduler = LambdaLR(training.optimizer, lambda step: max(1e-6, 1 - step / 300))
        made = guard_of(training, BATCHES, listeners=[heard], run_dir=tmp_path / "run", **options)
        return warnings_of(made, heard, steps)

    assert guard(100) == []
    assert guard(500, resume=True) == []
