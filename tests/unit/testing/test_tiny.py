"""The tiny training: the same each time, it learns, and a NaN in a batch is one in its loss."""

from __future__ import annotations

import torch
from support.exact import assert_same, generators

from supervisor.testing.tiny import TinyTrainer, tiny_batches, with_nan


def trained(trainer: TinyTrainer, epochs: int = 1) -> list[float]:
    losses = []
    for batch in trainer.data * epochs:
        trainer.optimizer.zero_grad()
        loss = trainer.loss(batch)
        loss.backward()
        trainer.optimizer.step()
        losses.append(float(loss.detach()))
    return losses


def test_it_is_the_same_each_time_and_leaves_the_generators_alone() -> None:
    before = generators()
    one, other, third = TinyTrainer(3), TinyTrainer.from_config({"batches": 16}, seed=3), TinyTrainer(4)
    assert_same(generators(), before)
    assert trained(one) == trained(other) != trained(third)
    assert_same(one.model.state_dict(), other.model.state_dict())


def test_it_learns() -> None:
    losses = trained(TinyTrainer(), epochs=10)
    assert sum(losses[-16:]) < 0.7 * sum(losses[:16])


def test_a_step_changes_buffers() -> None:
    trainer = TinyTrainer()
    trainer.loss(trainer.data[0])
    assert trainer.model.get_buffer("norm.running_mean").abs().max() > 0


def test_one_nan_in_a_batch_is_in_its_loss_and_the_batch_itself_stays() -> None:
    trainer = TinyTrainer()
    batch = tiny_batches(1)[0]
    bad = with_nan(batch, row=5)
    assert bad[0].isnan().nonzero().tolist() == [[5, 1]]
    assert torch.isfinite(batch[0]).all()
    assert torch.isnan(trainer.loss(bad))
