"""The trainer that `supervisor init` writes learns what it is for."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError

from supervisor.starter.my_trainer import MyTrainer, two_spirals


def test_it_learns_to_tell_the_spirals_apart() -> None:
    torch.manual_seed(7)
    trainer = MyTrainer.from_config({"learning_rate": 1e-2}, seed=7, steps=600)
    before = trainer.evaluate()
    done = 0
    while done < 600:
        for batch in trainer.data:
            trainer.optimizer.zero_grad()
            trainer.loss(batch).backward()
            trainer.optimizer.step()
            trainer.scheduler.step()
            done += 1
    after = trainer.evaluate()
    assert before["accuracy"] < 0.7
    assert after["accuracy"] > 0.9
    assert after["chance_accuracy"] == 0.5
    assert trainer.model.training


def test_the_data_are_the_seeds() -> None:
    points, labels = two_spirals(100, seed=3)
    again, _ = two_spirals(100, seed=3)
    other, _ = two_spirals(100, seed=4)
    assert torch.equal(points, again)
    assert not torch.equal(points, other)
    assert labels.float().mean() == 0.5


def test_a_key_that_is_misspelt_is_refused() -> None:
    with pytest.raises(ValidationError, match="learnin_rate"):
        MyTrainer.from_config({"learnin_rate": 1.0}, seed=7)
