"""The quick walk over the modules is the one torch makes; and the names of parameters, compiled or not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.optim import SGD

from supervisor.testing.tiny import TinyNet
from supervisor.training.modules import (
    ModuleWalk,
    buffers_of,
    named_modules,
    named_parameters,
    parameter_names,
    with_extra_state,
)
from supervisor.training.optimizers import chained


class Inner(nn.Module):
    def __init__(self, children: dict[str, nn.Module | None]) -> None:
        super().__init__()
        for name, child in children.items():
            self.add_module(name, child)


SHARED = nn.Linear(1, 1)
TREES = st.recursive(
    st.sampled_from([None, SHARED]) | st.builds(nn.Tanh),
    lambda below: st.builds(Inner, st.dictionaries(st.sampled_from("abcd"), below, max_size=4)),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from("xyz"), TREES, max_size=3))
def test_names_order_and_shared_modules_are_those_of_torch(children: dict[str, Any]) -> None:
    model = Inner(children)
    assert named_modules(model) == list(model.named_modules())


def test_a_module_that_holds_itself_ends() -> None:
    model = Inner({"a": Inner({"b": None})})
    model.a.add_module("b", model)
    assert [name for name, _ in named_modules(model)] == ["", "a"]


def test_the_wrapper_of_a_compiled_module_is_gone_through_and_stands_in_no_name() -> None:
    model = nn.Sequential(nn.Linear(1, 1), nn.Sequential(nn.Tanh()))
    names = [name for name, _ in model.named_modules()]
    model[1] = torch.compile(model[1])
    found = named_modules(torch.compile(model))
    assert [type(module).__name__ for _, module in found].count("OptimizedModule") == 2
    assert sorted(dict(found)) == sorted(names)
    assert type(dict(found)["1"]) is nn.Sequential


def test_every_buffer_is_given_with_its_place_and_those_that_are_unset_too() -> None:
    model = nn.Sequential(nn.BatchNorm1d(2), nn.BatchNorm1d(2, track_running_stats=False))
    found = list(buffers_of(named_modules(model)))
    assert [(name, key) for name, _, key, _ in found] == [
        (f"{index}.{key}", key) for index in (0, 1) for key in ("running_mean", "running_var", "num_batches_tracked")
    ]
    assert {name: buffer for name, _, _, buffer in found if buffer is not None} == dict(model.named_buffers())
    assert all(module is model.get_submodule(name[0]) for name, module, _, _ in found)
    model.register_buffer("own", torch.ones(1))
    assert next(buffers_of(named_modules(model)))[0] == "own"


def test_only_modules_with_extra_state_of_their_own_are_given() -> None:
    class Extra(nn.Linear):
        def get_extra_state(self) -> int:
            return 3

    model = nn.Sequential(nn.Linear(1, 1), Extra(1, 1))
    assert list(with_extra_state(named_modules(model))) == [("1", model[1])]


class Equal(nn.Linear):
    """Says of itself that it equals whatever it is compared with."""

    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = nn.Linear.__hash__


class Unwilling(nn.Linear):
    """Cannot be compared at all, as what compares its tensors element by element."""

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("ambiguous")

    __hash__ = nn.Linear.__hash__


class Stateful(nn.Tanh):
    def get_extra_state(self) -> int:
        return 3


def rename(model: nn.Sequential) -> None:
    held = model[0]
    delattr(model, "0")
    model.add_module("other", held)


class TestWalk:
    """A walk that is refreshed is one that was made anew."""

    @pytest.mark.parametrize(
        "change",
        [
            lambda model: model.append(Stateful()),
            lambda model: model[1].add_module("below", nn.BatchNorm1d(2)),
            lambda model: model[0].add_module("of_a_leaf", nn.BatchNorm1d(2)),
            lambda model: model.pop(1),
            lambda model: model[1].__delitem__(slice(None)),
            lambda model: model.__setitem__(0, nn.Linear(1, 1)),
            lambda model: model[1].__setitem__(0, Equal(1, 1)),
            lambda model: model[1].__setitem__(1, Unwilling(1, 1)),
            lambda model: model[1].register_module("0", None),
            lambda model: model.register_module("unset", Stateful()),
            rename,
        ],
        ids=[
            "added",
            "added below",
            "added to a leaf",
            "removed",
            "emptied",
            "replaced",
            "replaced by an equal one",
            "replaced by one that cannot be compared",
            "unset",
            "set",
            "renamed",
        ],
    )
    def test_a_change_is_noticed(self, change: Callable[[nn.Sequential], object]) -> None:
        model = nn.Sequential(nn.Linear(1, 1), nn.Sequential(Equal(1, 1), Unwilling(1, 1)))
        model.register_module("unset", None)
        walk = ModuleWalk(model)
        change(model)
        walk.refresh()
        fresh = named_modules(model)
        assert [name for name, _ in walk.named] == [name for name, _ in fresh]
        assert all(one is other for (_, one), (_, other) in zip(walk.named, fresh, strict=True))
        assert [id(module) for module in walk.plain] == [id(module) for _, module in fresh]
        assert [name for name, _ in walk.with_extra_state] == [name for name, _ in with_extra_state(fresh)]
        assert [name for name, *_ in walk.buffers()] == [name for name, *_ in buffers_of(fresh)]

    def test_where_nothing_changed_it_is_not_walked_again(self) -> None:
        model = nn.Sequential(Unwilling(1, 1), nn.BatchNorm1d(1))
        model.register_module("unset", None)
        walk = ModuleWalk(model)
        before = walk.named
        walk.refresh()
        assert walk.named is before

    def test_a_buffer_that_comes_later_is_given(self) -> None:
        model = nn.Sequential(nn.Linear(1, 1), nn.BatchNorm1d(1))
        walk = ModuleWalk(model)
        model[0].register_buffer("late", torch.ones(1))
        walk.refresh()
        assert next(name for name, *_ in walk.buffers()) == "0.late"


def test_a_compiled_model_has_the_names_of_the_plain_one() -> None:
    model = TinyNet()
    plain = dict(model.named_parameters())
    assert named_parameters(model) == plain
    model.inner = torch.compile(model.inner, backend="eager")  # type: ignore[assignment]
    assert named_parameters(torch.compile(model, backend="eager")) == plain  # type: ignore[arg-type]


def test_a_shared_parameter_has_its_first_name() -> None:
    model = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False))
    model[1].weight = model[0].weight
    assert list(named_parameters(model)) == ["0.weight"]


def test_what_the_optimizer_alone_holds_is_numbered_by_its_group() -> None:
    model, loose = nn.Linear(2, 1), nn.Parameter(torch.ones(1))
    optimizer = SGD([{"params": [model.weight]}, {"params": [model.bias, loose]}], lr=0.1)
    assert list(parameter_names(model, optimizer).values()) == ["weight", "bias", "param_groups.1.1"]


def test_of_several_optimizers_the_number_says_which() -> None:
    model, loose = nn.Linear(2, 1), nn.Parameter(torch.ones(1))
    several = chained([SGD(model.parameters(), lr=0.1), SGD([loose], lr=0.1)])
    assert parameter_names(model, several)[loose] == "optimizers.1.param_groups.0.0"


def test_what_the_model_has_and_no_optimizer_steps_is_named_too() -> None:
    model = nn.Linear(2, 1)
    assert list(parameter_names(model, SGD([model.weight], lr=0.1)).values()) == ["weight", "bias"]
