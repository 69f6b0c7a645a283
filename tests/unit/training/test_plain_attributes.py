"""What modules keep in plain attributes, put back between passes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from supervisor.training.plain_attributes import PlainAttributes


@dataclass
class Memory:
    keys: Tensor
    parent: Any = None


class Keeper(nn.Module):
    """Keeps whatever it is told to."""

    def __init__(self, **kept: Any) -> None:
        super().__init__()
        self.linear = nn.Linear(2, 2)
        for key, value in kept.items():
            setattr(self, key, value)


def attributes(module: nn.Module, **registered: Any) -> PlainAttributes:
    return PlainAttributes(nn.Sequential(module), registered.values())


class TestPutBack:
    def test_a_tensor_that_was_replaced_or_written_to(self) -> None:
        first, second = torch.ones(2), torch.zeros(3)
        keeper = Keeper(h=first, c=second)
        kept = attributes(keeper)
        keeper.h = torch.full((2,), 5.0)
        second.fill_(7)
        assert kept.changed() == ("0.h", "0.c")
        kept.put_back()
        assert keeper.h is first
        assert keeper.c is second
        assert second.tolist() == [0.0] * 3
        assert kept.changed() == ()

    def test_containers_and_numbers(self) -> None:
        keeper = Keeper(cache=[torch.ones(1)], table={"a": torch.ones(2)}, memory=Memory(torch.ones(1)), calls=0)
        kept = attributes(keeper)
        keeper.cache.append(torch.zeros(1))
        keeper.table["a"] = torch.zeros(2)
        keeper.memory.keys = torch.zeros(1)
        keeper.calls += 1
        assert kept.changed() == ("0.cache", "0.table", "0.memory", "0.calls")
        kept.put_back()
        assert len(keeper.cache) == 1
        assert keeper.table["a"].tolist() == [1.0, 1.0]
        assert keeper.memory.keys.item() == 1.0
        assert keeper.calls == 0

    def test_what_nobody_touched_stays_the_same_object(self) -> None:
        memory = Memory(torch.ones(1))
        memory.parent = memory
        keeper = Keeper(cache=[torch.ones(1)], memory=memory, table={"n": 1})
        cache, table = keeper.cache, keeper.table
        attributes(keeper).put_back()
        assert keeper.cache is cache
        assert keeper.memory is memory
        assert keeper.table is table

    def test_what_came_later_goes_again_and_what_was_unset_is_unset(self) -> None:
        keeper = Keeper(h=None)
        kept = attributes(keeper)
        keeper.h, keeper.later = torch.ones(1), torch.ones(1)
        del keeper.linear
        kept.put_back()
        assert keeper.h is None
        assert not hasattr(keeper, "later")

    def test_a_view_of_a_weight_keeps_its_graph(self) -> None:
        keeper = Keeper()
        keeper.view = keeper.linear.weight.view(-1)
        kept = attributes(keeper)
        kept.put_back()
        assert keeper.view.grad_fn is not None


class TestWhatCounts:
    def test_not_what_a_state_holds(self) -> None:
        loose = torch.full((1,), math.nan)
        keeper = Keeper(loose=loose, again=None)
        keeper.register_buffer("mean", torch.full((1,), math.nan))
        keeper.again = [keeper.mean, keeper.linear.weight]
        assert attributes(keeper, loose=loose).with_nan() == ()
        assert attributes(keeper).with_nan() == ("0.loose",)

    def test_nor_a_module_that_has_a_state_of_its_own(self) -> None:
        class Own(Keeper):
            def get_extra_state(self) -> Any:
                return self.h

        assert attributes(Own(h=torch.full((1,), math.nan))).with_nan() == ()

    @pytest.mark.parametrize(("moves", "suspected"), [(True, ("0.h",)), (False, ())])
    def test_an_infinity_is_suspect_where_a_pass_changes_it(self, moves: bool, suspected: tuple[str, ...]) -> None:
        keeper = Keeper(h=torch.tensor([1.0, math.inf]))
        kept = attributes(keeper)
        if moves:
            keeper.h = keeper.h * 2
        assert kept.suspects() == suspected


def test_zeros_stand_for_what_is_not_finite_until_it_is_given_back() -> None:
    keeper = Keeper(h=(torch.tensor([1.0, math.nan]), 3), g=torch.tensor([math.inf]))
    kept = attributes(keeper)
    kept.mend(["0.h"])
    kept.put_back()
    assert keeper.h[0].tolist() == [1.0, 0.0]
    assert keeper.h[1] == 3
    assert keeper.g.item() == math.inf
    keeper.h[0].fill_(9)
    kept.put_back()
    assert keeper.h[0].tolist() == [1.0, 0.0]
    kept.unmend()
    kept.put_back()
    assert keeper.h[0].isnan().tolist() == [False, True]
    kept.mend(["0.h"])
    kept.put_back()
    kept.restore()
    assert keeper.h[0].isnan().tolist() == [False, True]
