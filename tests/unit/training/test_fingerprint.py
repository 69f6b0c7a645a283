"""The same batch has the same hash, and another one another."""

from __future__ import annotations

import copy
import pickle
from collections import OrderedDict, namedtuple
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch

from supervisor.training.fingerprint import MOST_VALUES, content_of, rows_of

Pair = namedtuple("Pair", "x y")


@dataclass
class Record:
    x: torch.Tensor
    text: list[str]
    owner: Any = field(default=None, compare=False)


class Opaque:
    """Something that nothing is known about."""


def batches() -> list[Any]:
    x = torch.arange(12.0).reshape(4, 3)
    return [
        x,
        x.t(),
        x.to(torch.bfloat16),
        x > 3,
        x.to(torch.complex64),
        torch.tensor(3),
        torch.empty(0, 3),
        (x, x),
        [x, x],
        {"x": x, "y": 3},
        OrderedDict(y=3),
        Pair(x, 1),
        Record(x, ["a", "b"]),
        np.arange(5),
        np.float32(3),
        np.array(["a", "b"]),
        "text",
        b"bytes",
        3,
        3.0,
        True,
        None,
        float("nan"),
        "\udce9",
    ]


def test_equal_batches_have_equal_hashes_and_others_do_not() -> None:
    first, second = [content_of(batch) for batch in batches()], [content_of(batch) for batch in batches()]
    assert first == second
    assert len({*first}) == len(first)
    assert all(len(each) == 24 for each in first)


def test_it_does_not_depend_on_how_the_memory_lies() -> None:
    x = torch.arange(12.0).reshape(4, 3)
    assert content_of(x.t()) == content_of(x.t().contiguous())


@pytest.mark.parametrize("position", [0, 1234, 4999])
def test_each_value_of_a_small_tensor_counts(position: int) -> None:
    x = torch.zeros(5000)
    other = x.clone()
    other[position] = 1e-30
    assert content_of(x) != content_of(other)


def test_of_a_large_one_some_are_looked_at_all_over() -> None:
    x = torch.rand(MOST_VALUES * 3 + 5)
    other = x.clone()
    other[MOST_VALUES * 2 :] = torch.rand(MOST_VALUES + 5)
    assert content_of(x) != content_of(other)
    assert content_of(x) == content_of(x.clone())


def test_kinds_whose_values_cannot_be_read_count_by_their_shape() -> None:
    sparse, meta = torch.eye(3).to_sparse(), torch.empty(3, device="meta")
    assert content_of(sparse) == content_of(sparse.clone())
    assert content_of(meta) != content_of(torch.empty(4, device="meta"))


def test_objects_of_no_known_kind_count_by_their_type() -> None:
    assert content_of([Opaque()]) == content_of([Opaque()])
    assert content_of([Opaque()]) != content_of([object()])
    assert content_of(np.array([Opaque()])) == content_of(np.array([Opaque()]))


def test_what_holds_itself_ends() -> None:
    record = Record(torch.ones(2), ["a"])
    record.owner = record
    twin = copy.deepcopy(record)
    assert content_of(record) == content_of(twin)


def test_it_is_the_same_in_another_process() -> None:
    batch = {"x": torch.arange(3), "names": ["a", "b"]}
    assert content_of(pickle.loads(pickle.dumps(batch))) == content_of(batch) == "160815d6701598afc8093d20"


def test_rows() -> None:
    assert rows_of(None) is None
    assert rows_of([1, 2]) == rows_of((1, 2)) != rows_of([2, 1])
    assert rows_of([]) not in (None, rows_of([0]))
