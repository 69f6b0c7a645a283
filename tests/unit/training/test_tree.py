"""Copies of nested state, and what of it may stand in a checkpoint."""

from __future__ import annotations

import enum
from collections import Counter, OrderedDict, deque, namedtuple
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from supervisor.training.tree import all_tensors, clone, copied, copies, mapped, plain, tensors, tensors_in

Pair = namedtuple("Pair", ["left", "right"])


def storages(tree: Any) -> set[int]:
    return {tensor.untyped_storage().data_ptr() for _, tensor in tensors(tree)}


def tree() -> dict[str, Any]:
    return {
        "tensor": torch.arange(6.0).reshape(2, 3),
        "list": [torch.ones(2), {"deep": (torch.zeros(1), "text", None)}],
        "ordered": OrderedDict(a=torch.ones(3)),
        "pair": Pair(torch.ones(2), 1.5),
        3: b"bytes",
    }


class TestClone:
    def test_it_is_equal_and_shares_nothing(self) -> None:
        original = tree()
        copy = clone(original)
        assert not storages(original) & storages(copy)
        assert [path for path, _ in tensors(copy)] == [path for path, _ in tensors(original)]
        for (_, a), (_, b) in zip(tensors(original), tensors(copy), strict=True):
            assert torch.equal(a, b)
        original["list"][1]["deep"][0].fill_(9)
        original["list"].append("more")
        original["ordered"]["a"].fill_(9)
        assert copy["list"][1]["deep"][0].item() == 0
        assert len(copy["list"]) == 2
        assert copy["ordered"]["a"].sum().item() == 3

    def test_containers_keep_their_types(self) -> None:
        copy = clone({"o": OrderedDict(a=1), "p": Pair(1, 2), "c": Counter({3: 2}), "d": deque([1], maxlen=4)})
        assert [type(value) for value in copy.values()] == [OrderedDict, Pair, Counter, deque]
        assert copy["d"].maxlen == 4

    def test_a_copy_has_no_graph(self) -> None:
        weight = torch.ones(2, requires_grad=True)
        copy = clone({"loss": (weight * 2).sum(), "parameter": nn.Parameter(torch.ones(1))})
        assert not copy["loss"].requires_grad
        assert not copy["parameter"].requires_grad

    @pytest.mark.parametrize("container", [lambda t: OrderedDict(w=t), lambda t: Pair(t, t)])
    def test_a_tensor_with_a_graph_can_be_copied_in_any_container(self, container: Any) -> None:
        loss = (torch.ones(2, requires_grad=True) * 2).sum()
        held = container(loss)
        copy = clone(held)
        assert type(copy) is type(held)
        copied = next(iter(copy.values() if isinstance(copy, OrderedDict) else copy))
        assert torch.equal(copied, loss.detach())
        assert copied is not loss

    def test_layout_is_kept(self) -> None:
        channels_last = torch.randn(2, 3, 4, 4).to(memory_format=torch.channels_last)
        assert clone(channels_last).stride() == channels_last.stride()
        broadcast = torch.ones(1).expand(4)
        assert clone(broadcast).add_(1).tolist() == [2.0] * 4


class TestTensors:
    def test_each_is_named_by_its_path(self) -> None:
        assert [path for path, _ in tensors(tree())] == ["tensor", "list.0", "list.1.deep.0", "ordered.a", "pair.0"]
        assert [path for path, _ in tensors({"a": torch.ones(1)}, "w")] == ["w.a"]
        assert [path for path, _ in tensors(torch.ones(1), "w")] == ["w"]


class Level(enum.IntEnum):
    HIGH = 3


class Name(enum.StrEnum):
    ADAM = "adam"


class TestPlain:
    @pytest.mark.parametrize("value", [True, False, None, 3, -2.5, "text", b"bytes", float("inf")])
    def test_plain_values_stay(self, value: Any) -> None:
        assert plain(value) == value
        assert type(plain(value)) is type(value)

    @pytest.mark.parametrize(
        ("value", "base", "kind"),
        [
            (Level.HIGH, 3, int),
            (Name.ADAM, "adam", str),
            (np.float64(1.5), 1.5, float),
            (np.float32(1.5), 1.5, float),
            (np.int64(7), 7, int),
            (np.bool_(True), True, bool),
            (np.array(2.5), 2.5, float),
            (Counter({30: 1}), {30: 1}, dict),
            (OrderedDict(a=1), {"a": 1}, dict),
            (Pair(1, 2), (1, 2), tuple),
            (torch.Size([2, 3]), (2, 3), tuple),
        ],
    )
    def test_subclasses_become_their_base(self, value: Any, base: Any, kind: type) -> None:
        assert plain(value) == base
        assert type(plain(value)) is kind

    def test_arrays_become_tensors_of_their_own(self) -> None:
        array = np.arange(4)
        tensor = plain({"a": array})["a"]
        array[0] = 9
        assert torch.equal(tensor, torch.arange(4))

    def test_parameters_lose_their_graph(self) -> None:
        assert type(plain(nn.Parameter(torch.ones(2)))) is torch.Tensor

    @pytest.mark.parametrize(
        ("bad", "path"),
        [
            ({"a": [1, {"b": object()}]}, "state.a.1.b"),
            ((1, lambda: None), "state.1"),
            ({"s": {1, 2}}, "state.s"),
            ({"d": deque([1])}, "state.d"),
            ({"c": 1 + 2j}, "state.c"),
            ({"n": {"x": np.array(["text"])}}, "state.n.x"),
            ({"n": np.array([object()])}, "state.n"),
            ({"n": np.datetime64("2026-01-01")}, "state.n"),
            ({"n": np.longdouble(1)}, "state.n"),
            ({"n": np.array(object())}, "state.n"),
            ({"f": nn.Linear(1, 1)}, "state.f"),
        ],
    )
    def test_anything_else_is_refused_with_its_path(self, bad: Any, path: str) -> None:
        with pytest.raises(TypeError) as caught:
            plain(bad)
        assert str(caught.value).startswith(f"{path}: ")
        assert "cannot stand in a checkpoint" in str(caught.value)

    def test_keys_are_held_to_the_same(self) -> None:
        keys = {1: 1, "a": 2, None: 4, 2.5: 5, (0, "zclip"): 6, (1, (2, None)): 7}
        assert plain(keys) == keys
        for key in (frozenset({1}), (1, frozenset({2}))):
            with pytest.raises(TypeError, match=r"^state\.a: a key of type frozenset"):
                plain({"a": {key: 3}})

    def test_the_result_can_be_loaded_without_pickle(self, tmp_path: Any) -> None:
        value = plain({**tree(), "numpy": np.float64(0.5), "level": Level.HIGH, "counter": Counter("aab"), (0, "a"): 1})
        torch.save(value, tmp_path / "state.pt")
        back = torch.load(tmp_path / "state.pt", weights_only=True)
        assert back["counter"] == {"a": 2, "b": 1}
        assert back[(0, "a")] == 1
        assert torch.equal(back["tensor"], value["tensor"])


class TestCopied:
    def test_it_is_written_into_the_spare_where_that_fits(self) -> None:
        tree = {"a": torch.arange(3.0), "b": [torch.ones(2)], "c": torch.ones(2, 2)}
        spare = {"a": torch.zeros(3), "b": [torch.zeros(2)], "c": torch.zeros(4)}
        copy = copied(tree, spare)
        assert copy["a"] is spare["a"]
        assert torch.equal(copy["a"], tree["a"])
        assert copy["c"] is not spare["c"]
        assert torch.equal(copy["c"], tree["c"])
        assert torch.equal(copy["b"][0], tree["b"][0])
        tree["a"].add_(1)
        assert torch.equal(copy["a"], torch.arange(3.0))

    def test_without_a_fitting_spare_it_is_a_clone(self) -> None:
        tensor = torch.arange(4.0, requires_grad=True)
        for spare in (None, torch.zeros(4, dtype=torch.float64), torch.zeros(8)[::2], "text"):
            copy = copied(tensor, spare)
            assert torch.equal(copy, tensor)
            assert not copy.requires_grad
            assert copy is not spare


@dataclass(frozen=True, slots=True)
class Frozen:
    x: Any
    above: Any = None


@dataclass
class Node:
    x: Any
    above: Any = None


class TestDataclasses:
    def test_every_walk_goes_through_them(self) -> None:
        tree = {"a": [Frozen(torch.ones(2), Node(torch.zeros(3)))]}
        assert [path for path, _ in tensors(tree)] == ["a.0.x", "a.0.above.x"]
        assert [len(tensor) for tensor in tensors_in(tree)] == [2, 3]
        assert sorted(len(tensor) for tensor in all_tensors(tree)) == [2, 3]
        changed = mapped(tree, lambda tensor: tensor + 1)["a"][0]
        assert (type(changed), type(changed.above), changed.x.tolist()) == (Frozen, Node, [2.0, 2.0])
        assert tree["a"][0].x.tolist() == [1.0, 1.0]

    def test_one_that_holds_its_holder_ends(self) -> None:
        node = Node(torch.ones(2))
        node.above = [Frozen(torch.zeros(1), node)]
        assert [path for path, _ in tensors(node)] == ["x", "above.0.x"]
        twin = mapped(node, lambda tensor: tensor + 1)
        assert twin.above[0].above is twin
        assert clone(node).above[0].above is not node
        assert not copies(node)

    def test_a_copy_of_one_has_no_graph_and_shares_nothing(self) -> None:
        batch = Frozen((torch.ones(2, requires_grad=True) * 2), Pair(torch.ones(1), "n"))
        copy = clone(batch)
        assert (type(copy), type(copy.above), copy.x.requires_grad) == (Frozen, Pair, False)
        assert not storages(batch) & storages(copy)

    @pytest.mark.parametrize(
        ("tree", "sure"),
        [
            ([Frozen(torch.ones(2), Pair({"n": 1}, (None, "text")))], True),
            (Frozen(torch.ones(2, requires_grad=True)), False),
            (Frozen(deque([1])), False),
            (Counter("aab"), False),
        ],
    )
    def test_what_can_be_copied_for_certain(self, tree: Any, sure: bool) -> None:
        assert copies(tree) is sure

    def test_a_checkpoint_does_not_take_them(self) -> None:
        with pytest.raises(TypeError, match=r"^state\.f: a Frozen cannot stand in a checkpoint"):
            plain({"f": Frozen(torch.ones(1))})
