"""What is wrong in some tensors, wherever they are held."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

from supervisor.training.norms import flaws
from supervisor.training.tree import all_tensors

X = torch.tensor([1.0, math.nan])


@pytest.mark.parametrize(
    ("values", "found"),
    [
        ([], set()),
        ([1.0, -1000.0], set()),
        ([math.nan], {"nan"}),
        ([math.inf, 1.0], {"inf"}),
        ([-math.inf], {"-inf"}),
        ([math.inf, math.nan, -math.inf], {"nan", "inf", "-inf"}),
    ],
)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_each_kind_of_value_is_told(values: list[float], found: set[str], dtype: torch.dtype) -> None:
    assert flaws([torch.tensor(values, dtype=dtype)]) == found


def test_all_groups_count_together() -> None:
    assert flaws([torch.ones(2)], [], [torch.tensor(math.inf), torch.tensor(math.nan)]) == {"inf", "nan"}


def test_numbers_that_cannot_be_bad_are_not() -> None:
    assert flaws([torch.tensor([-3e38, 3e38]), torch.tensor([2**62]), torch.tensor([True]), torch.zeros(0)]) == set()


def test_either_half_of_a_complex_number_and_a_conjugated_one() -> None:
    assert flaws([torch.tensor([complex(1, math.nan)])]) == {"nan"}
    assert flaws([torch.tensor([complex(-math.inf, 1)])]) == {"-inf"}
    assert flaws([torch.tensor([complex(1, math.inf)]).conj()]) == {"-inf"}


def test_the_values_of_a_sparse_tensor() -> None:
    sparse = torch.sparse_coo_tensor(torch.tensor([[1]]), torch.tensor([math.nan]), (4,), check_invariants=True)
    assert flaws([sparse]) == {"nan"}


def test_a_graph_is_left_alone() -> None:
    weight = torch.tensor([math.nan], requires_grad=True)
    assert flaws([weight * 2]) == {"nan"}


class Named(NamedTuple):
    x: Tensor


@dataclass
class Plain:
    x: Any
    label: str = ""


@dataclass(slots=True)
class Slotted:
    x: Any


@dataclass
class Mapped(OrderedDict[str, Any]):
    """As the outputs of well-known libraries are: a mapping and a dataclass."""

    x: Any = None

    def __post_init__(self) -> None:
        self["x"] = self.x


@pytest.mark.parametrize(
    "tree",
    [
        X,
        [X],
        ({"a": [1, (X,)]},),
        Named(X),
        Plain(X),
        Slotted(X),
        Mapped(X),
        (Plain(X), {}),
        {"out": Slotted([Plain((X,))])},
        [OrderedDict(a=Plain(X))],
    ],
    ids=repr,
)
def test_a_tensor_is_found_in_whatever_holds_it(tree: Any) -> None:
    assert [tensor is X for tensor in all_tensors(tree)] == [True]


@pytest.mark.parametrize("tree", [None, 3, "text", Plain, {1, 2}, [], {"a": None}])
def test_what_holds_none_gives_none(tree: Any) -> None:
    found: Iterable[Tensor] = all_tensors(tree)
    assert list(found) == []


def test_nodes_that_hold_each_other_end() -> None:
    parent = Plain([X])
    child = Plain(parent)
    parent.label = child  # type: ignore[assignment]
    assert [tensor is X for tensor in all_tensors(child)] == [True]
