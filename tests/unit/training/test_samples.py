"""Taking samples out of batches of any form."""

from __future__ import annotations

import math
from collections import OrderedDict, UserDict, defaultdict
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Any, NamedTuple

import pytest
import torch

from supervisor.training.device import batch_to, devices_of
from supervisor.training.samples import bad_samples, keep_samples, sample_count, values_replaced


class Pair(NamedTuple):
    x: torch.Tensor
    y: torch.Tensor


X = torch.arange(12.0).reshape(4, 3)
Y = torch.tensor([7, 8, 9, 10])


@pytest.mark.parametrize(
    ("batch", "count"),
    [
        (X, 4),
        ((X, Y), 4),
        ({"x": X, "more": [Y, {"z": X}]}, 4),
        ((X, torch.tensor(3.0)), 4),
        ((X, Y[:3]), None),
        (torch.tensor(1.0), None),
        ("text", None),
    ],
)
def test_samples_lie_where_all_tensors_agree(batch: Any, count: int | None) -> None:
    assert sample_count(batch) == count


def test_samples_are_kept_in_every_tensor_and_every_list_of_as_many() -> None:
    batch = {"x": X, "pair": Pair(X, Y), "names": ["a", "b", "c", "d"], "scale": torch.tensor(2.0), "note": "n"}
    kept = keep_samples(batch, [0, 3])
    assert torch.equal(kept["x"], X[[0, 3]])
    assert isinstance(kept["pair"], Pair)
    assert torch.equal(kept["pair"].y, Y[[0, 3]])
    assert kept["names"] == ["a", "d"]
    assert torch.equal(kept["scale"], torch.tensor(2.0))
    assert kept["note"] == "n"
    assert torch.equal(batch["x"], torch.arange(12.0).reshape(4, 3))


@pytest.mark.parametrize("batch", [defaultdict(list, x=X), OrderedDict(x=X), UserDict(x=X), MappingProxyType({"x": X})])
def test_a_mapping_stays_of_its_kind(batch: Any) -> None:
    kept, moved = keep_samples(batch, [0, 3]), batch_to(batch, torch.device("meta"))
    assert type(kept) is type(moved) is type(batch)
    assert torch.equal(kept["x"], X[[0, 3]])
    assert moved["x"].is_meta
    assert batch["x"] is X


def test_a_pair_of_tensors_is_no_list_of_two_samples() -> None:
    kept = keep_samples((X[:2], Y[:2]), [1])
    assert torch.equal(kept[0], X[1:2])
    assert torch.equal(kept[1], Y[1:2])


def test_bad_values_are_found_in_any_tensor() -> None:
    x, z = X.clone(), X.clone().unsqueeze(2)
    x[1, 2] = math.nan
    z[3, 0] = -math.inf
    assert bad_samples((x, {"z": z}, Y)) == (1, 3)
    assert bad_samples((X, Y)) == ()
    mended = values_replaced((x, Y))
    assert torch.isfinite(mended[0]).all()
    assert torch.equal(mended[0][[0, 2, 3]], X[[0, 2, 3]])


@dataclass(frozen=True, slots=True)
class Targets:
    y: torch.Tensor


@dataclass
class Sequences:
    x: torch.Tensor
    targets: Targets
    names: list[str]
    scale: float = 2.0

    @cached_property
    def lengths(self) -> torch.Tensor:
        return torch.isfinite(self.x).sum(1)


class TestDataclasses:
    def batch(self) -> Sequences:
        x = X.clone()
        x[1, 2] = math.nan
        return Sequences(x, Targets(Y), ["a", "b", "c", "d"])

    def test_samples_are_counted_and_judged_in_them(self) -> None:
        assert (sample_count(self.batch()), bad_samples(self.batch())) == (4, (1,))
        assert sample_count(Sequences(X, Targets(Y[:2]), [])) is None

    def test_samples_are_kept_and_nothing_computed_from_the_others(self) -> None:
        batch = self.batch()
        assert len(batch.lengths) == 4
        kept = keep_samples(batch, [0, 3])
        assert (type(kept), type(kept.targets), kept.names, kept.scale) == (Sequences, Targets, ["a", "d"], 2.0)
        assert torch.equal(kept.targets.y, Y[[0, 3]])
        assert len(kept.lengths) == 2
        assert len(batch.x) == 4

    def test_values_are_replaced_and_tensors_moved_in_them(self) -> None:
        batch = self.batch()
        assert torch.isfinite(values_replaced(batch).x).all()
        moved = batch_to(batch, torch.device("meta"))
        assert moved.x.is_meta
        assert moved.targets.y.is_meta
        assert devices_of(moved) == {"meta"}
        assert not batch.x.is_meta
