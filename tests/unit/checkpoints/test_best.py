"""The best checkpoint of a directory."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from supervisor.checkpoints import BestRule, CheckpointStore, best_of


def test_the_value_of_what_is_missing_or_not_finite_is_none() -> None:
    rule = BestRule("mrr", "max")
    assert rule.value({"mrr": 0.25}) == 0.25
    assert [rule.value(each) for each in ({}, {"mrr": math.nan}, {"mrr": -math.inf})] == [None, None, None]


@pytest.mark.parametrize(("mode", "step"), [("max", 2), ("min", 4)])
def test_the_first_of_the_best_on_disk_is_found(tmp_path: Path, mode: str, step: int) -> None:
    store = CheckpointStore(tmp_path, "run")
    for at, metrics in enumerate([None, {"mrr": 0.2}, {"mrr": 0.9}, {"mrr": 0.9}, {"mrr": 0.1}, {"loss": 5.0}]):
        store.write(at, at, {"w": torch.zeros(1)}, metrics=metrics)
    found = best_of(store.committed(), BestRule("mrr", "max" if mode == "max" else "min"))
    assert found is not None
    assert (found[0].step, found[1]) == (step, 0.9 if mode == "max" else 0.1)
    assert best_of(store.committed(), BestRule("top1", "max")) is None


def test_one_that_was_not_evaluated_does_not_take_its_place(tmp_path: Path) -> None:
    """As when a run that went back to the best state writes it down again."""
    store = CheckpointStore(tmp_path, "run")
    store.write(4, 4, {"w": torch.zeros(1)}, good=True, metrics={"mrr": 0.9})
    again = store.write(4, 9, {"w": torch.ones(1)}, good=True)
    assert again.name == "step-00000004-update-00000009"
    found = best_of(store.committed(), BestRule("mrr", "max"))
    assert found is not None
    assert found[0].path.name == "step-00000004"
    assert torch.equal(store.load(found[0].path)["w"], torch.zeros(1))
