"""What holds other values: mappings, lists, tuples, and dataclasses of every make."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import InitVar, dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple

import pytest
import torch
from torch import Tensor

from supervisor.training.containers import attributes, blank_twin, entries, is_record, named_entries, with_values


class Pair(NamedTuple):
    x: Any
    y: Any


@dataclass
class Plain:
    x: Any
    scale: InitVar[float] = 1.0
    count: ClassVar[int] = 7
    later: Any = field(init=False)

    def __post_init__(self, scale: float) -> None:
        self.added = scale

    @cached_property
    def double(self) -> Any:
        return self.x * 2


@dataclass(frozen=True, slots=True)
class Frozen:
    x: Any


class Output(OrderedDict[str, Any]):
    """A mapping that forbids `update`, as the outputs of some libraries do."""

    def update(self, *args: Any, **kwargs: Any) -> None:
        raise TypeError("no update")


def test_an_instance_carries_its_fields_and_what_was_added_but_nothing_computed() -> None:
    plain = Plain(3, scale=2.0)
    assert plain.double == 6
    assert attributes(plain) == {"x": 3, "added": 2.0}
    assert attributes(Frozen(4)) == {"x": 4}


@pytest.mark.parametrize("other", [Plain, Output(), Pair(1, 2), [1], 3, "text", torch.ones(1)])
def test_no_other_thing_is_a_record(other: Any) -> None:
    assert not is_record(other)


def test_a_twin_is_of_the_same_class_and_nothing_was_run_for_it() -> None:
    twin = blank_twin(Frozen(1))
    assert type(twin) is Frozen
    assert attributes(twin) == {}


@pytest.mark.parametrize(
    ("tree", "held"),
    [
        ({"a": 1}, [("a", 1)]),
        ([5, 6], [(0, 5), (1, 6)]),
        (Pair(5, 6), [(0, 5), (1, 6)]),
        (Frozen(9), [("x", 9)]),
        ("text", []),
        (Frozen, []),
    ],
)
def test_what_a_container_holds(tree: Any, held: list[Any]) -> None:
    assert list(entries(tree)) == held


def test_what_has_a_name() -> None:
    for tree in ({"x": 1, "y": 2}, Pair(1, 2)):
        assert dict(named_entries(tree)) == {"x": 1, "y": 2}
    assert named_entries(Frozen(1)) == {"x": 1}
    assert named_entries((1, 2)) == named_entries([1]) == named_entries(5) == {}


@pytest.mark.parametrize("tree", [Output(a=torch.ones(1)), MappingProxyType({"a": 1}), OrderedDict(a=1), {"a": 1}])
def test_a_mapping_of_the_same_kind_takes_other_values(tree: Any) -> None:
    twin = with_values(tree, {"a": 2})
    assert (type(twin), twin["a"]) == (type(tree), 2)
    assert isinstance(tree["a"], Tensor) or tree["a"] == 1
