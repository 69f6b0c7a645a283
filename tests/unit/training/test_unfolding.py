"""Batches of any class in a file of plain containers."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from supervisor.training.tree import plain
from supervisor.training.unfolding import folded, unfolded


class Pair(NamedTuple):
    x: Any
    y: Any


@dataclass(frozen=True, slots=True)
class Inner:
    y: Tensor


@dataclass
class Outer:
    x: Tensor
    inner: Inner
    names: list[str] = field(default_factory=list)


@dataclass
class Node:
    parent: Any = None


def test_what_was_replaced_comes_back_from_a_file(tmp_path: Path) -> None:
    batch = [{"a.b": Outer(torch.ones(2), Inner(torch.zeros(2)), ["n"])}, Pair(1, (2, [Inner(torch.ones(1))]))]
    kinds: dict[str, str] = {}
    torch.save(plain(unfolded(batch, kinds)), tmp_path / "batch.pt")
    back = folded(torch.load(tmp_path / "batch.pt", weights_only=True), kinds)
    outer = back[0]["a.b"]
    assert kinds.keys() == {"[0]['a.b']", "[0]['a.b']['inner']", "[1]", "[1][1][1][0]"}
    assert (type(outer), type(outer.inner), outer.names) == (Outer, Inner, ["n"])
    assert torch.equal(outer.inner.y, torch.zeros(2))
    assert (type(back[1]), type(back[1].y), type(back[1].y[1][0])) == (Pair, tuple, Inner)


def test_no_class_is_imported_and_none_of_another_kind_is_made() -> None:
    for name in ("antigravity:Batch", "builtins:dict", f"{__name__}:Nothing", f"{__name__}:test_no_class", "os"):
        assert folded({"x": 1}, {"": name}) == {"x": 1}


def test_what_holds_itself_is_left_to_whoever_refuses_it() -> None:
    node = Node()
    node.parent = node
    assert unfolded(node, {})["parent"] is node
