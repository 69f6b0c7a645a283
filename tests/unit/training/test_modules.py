"""The quick walk over the modules is the one torch makes."""

from __future__ import annotations

from typing import Any

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from supervisor.training.modules import buffers_of, named_modules, with_extra_state


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
