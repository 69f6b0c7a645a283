"""The quick walk over the modules is the one torch makes."""

from __future__ import annotations

from typing import Any

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from supervisor.training.modules import named_modules


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


def test_a_wrapper_is_gone_through_too() -> None:
    model = torch.compile(nn.Sequential(nn.Linear(1, 1)))
    assert named_modules(model) == list(model.named_modules())
