"""Several optimizers of one loss, taken for one."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import SGD, Adam

from supervisor.errors import InputError
from supervisor.training.optimizers import ChainedOptimizer, chained, members

ONE, OTHER = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(3))


def two() -> tuple[SGD, Adam, ChainedOptimizer]:
    first, second = SGD([ONE], lr=0.1, momentum=0.9), Adam([OTHER], lr=0.2)
    both = chained([first, second])
    assert isinstance(both, ChainedOptimizer)
    return first, second, both


class TestChaining:
    def test_one_stays_itself_and_so_does_a_list_of_one(self) -> None:
        first, _, both = two()
        assert chained(first) is chained([first]) is chained((first,)) is first
        assert chained(both) is both

    def test_its_members_are_those_it_was_made_of(self) -> None:
        first, second, both = two()
        assert members(both) == (first, second)
        assert members(first) == (first,)

    @pytest.mark.parametrize(
        ("given", "pattern"),
        [
            ([], "an empty list: give one optimizer or more"),
            ("adam", "a str is no torch.optim.Optimizer: give an optimizer, or a list of optimizers"),
            ([SGD([ONE], lr=0.1), None], "None is no torch.optim.Optimizer"),
        ],
        ids=["none", "text", "in the list"],
    )
    def test_anything_else_is_refused_with_the_mend(self, given: Any, pattern: str) -> None:
        with pytest.raises(InputError, match=pattern):
            chained(given)

    def test_a_parameter_in_two_of_them_is_refused(self) -> None:
        with pytest.raises(InputError, match=r"0 and 1 hold the same parameter of shape \(2,\)"):
            chained([SGD([ONE], lr=0.1), Adam([OTHER, ONE])])

    def test_the_same_one_twice_is_refused(self) -> None:
        first = SGD([ONE], lr=0.1)
        with pytest.raises(InputError, match="0 and 1 hold the same parameter"):
            chained([first, first])


def test_the_groups_are_the_very_dicts_of_all_in_order() -> None:
    first, second, both = two()
    assert [group["lr"] for group in both.param_groups] == [0.1, 0.2]
    both.param_groups[1]["lr"] = 0.4
    assert second.param_groups[0]["lr"] == 0.4
    assert both.param_groups[0] is first.param_groups[0]


def test_a_step_is_one_of_each() -> None:
    one, other = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(3))
    both = chained([SGD([one], lr=0.5), SGD([other], lr=0.25)])
    one.grad, other.grad = torch.ones(2), torch.ones(3)
    both.step()
    assert (one.tolist(), other.tolist()) == ([0.5] * 2, [0.75] * 3)


class TestState:
    def test_it_is_read_and_counted_over_all(self) -> None:
        first, second, both = two()
        first.state[ONE] = {"a": 1}
        second.state[OTHER] = {"b": 2}
        assert dict(both.state) == {ONE: {"a": 1}, OTHER: {"b": 2}}
        assert len(both.state) == 2

    def test_what_is_written_goes_to_the_one_that_holds_the_parameter(self) -> None:
        first, second, both = two()
        both.state[OTHER] = {"b": 2}
        assert (len(first.state), second.state[OTHER]) == (0, {"b": 2})

    def test_what_is_removed_is_gone_there(self) -> None:
        _, second, both = two()
        second.state[OTHER] = {"b": 2}
        del both.state[OTHER]
        assert OTHER not in second.state
        assert both.state.pop(ONE, None) is None

    def test_a_parameter_of_none_of_them_is_an_error(self) -> None:
        _, _, both = two()
        stray = nn.Parameter(torch.ones(1))
        with pytest.raises(KeyError):
            both.state[stray]
        with pytest.raises(KeyError):
            both.state[stray] = {}
        with pytest.raises(KeyError):
            del both.state[stray]

    def test_what_belongs_to_no_parameter_stays_with_the_one_that_keeps_it(self) -> None:
        """Two of a kind keep it under the same key."""
        first, second, both = two()
        first.state["shared"], second.state["shared"] = {"count": 1}, {"count": 2}
        saved = copy.deepcopy(dict(both.state))
        assert sorted(held["count"] for held in saved.values()) == [1, 2]
        first.state.pop("shared")
        second.state["shared"]["count"] = 9
        for key, held in saved.items():
            both.state[key] = held
        assert (first.state["shared"], second.state["shared"]) == ({"count": 1}, {"count": 2})

    def test_a_parameter_without_a_state_is_given_none_by_a_look(self) -> None:
        first, _, both = two()
        assert both.state.get(ONE) is None
        assert len(first.state) == 0
