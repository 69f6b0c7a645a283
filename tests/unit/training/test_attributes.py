"""Plain attributes of modules: the very objects come back, with what they held."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from supervisor.experiments.canaries import versions_of
from supervisor.training.attributes import ModuleAttributes


class Keeping(nn.Module):
    """A module with attributes of every kind, as users keep them beside what torch knows."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(2, 2)
        self.register_buffer("known", torch.zeros(2))
        self.count = 3
        self.cache: list[Any] = [1, torch.ones(2)]
        self.table: dict[str, Any] = {"a": torch.ones(2), "b": [1, 2]}
        self.seen = {1, 2}
        self.hidden = torch.ones(3)
        self.nothing: Any = None


def test_numbers_and_names_come_back() -> None:
    model = Keeping()
    kept = ModuleAttributes(model)
    model.count, model.nothing = 9, "something"
    kept.put_back()
    assert (model.count, model.nothing) == (3, None)


def test_what_is_new_is_taken_away_and_what_was_deleted_comes_back() -> None:
    model = Keeping()
    kept = ModuleAttributes(model)
    model.later = 1
    model.inner.last_input = torch.ones(1)
    del model.count
    kept.put_back()
    assert not hasattr(model, "later")
    assert not hasattr(model.inner, "last_input")
    assert model.count == 3


@pytest.mark.parametrize("name", ["cache", "table", "seen", "hidden"])
def test_a_container_is_the_very_object_with_what_it_held(name: str) -> None:
    model, expected = Keeping(), Keeping()
    held = getattr(model, name)
    kept = ModuleAttributes(model)
    if name == "hidden":
        held.mul_(7)
    elif name == "cache":
        held.append(3)
        held[1].zero_()
    elif name == "table":
        held["a"].zero_()
        held["b"].append(3)
        held["c"] = 1
    else:
        held.add(3)
    kept.put_back()
    back = getattr(model, name)
    assert back is held
    assert str(back) == str(getattr(expected, name))


def test_so_is_one_that_was_replaced() -> None:
    model = Keeping()
    cache, hidden = model.cache, model.hidden
    kept = ModuleAttributes(model)
    hidden.zero_()
    model.cache, model.hidden = [], torch.zeros(5)
    kept.put_back()
    assert model.cache is cache
    assert model.hidden is hidden
    assert torch.equal(hidden, torch.ones(3))


def test_what_is_put_back_can_be_put_back_again() -> None:
    model = Keeping()
    kept = ModuleAttributes(model)
    for _ in range(2):
        model.cache.clear()
        model.table["a"].zero_()
        model.hidden.zero_()
        kept.put_back()
        assert len(model.cache) == 2
        assert torch.equal(model.table["a"], torch.ones(2))
        assert torch.equal(model.hidden, torch.ones(3))


def test_what_a_container_holds_are_the_very_objects_too() -> None:
    model = Keeping()
    inside, listed = model.table["a"], model.table["b"]
    model.cache.append((inside, [listed]))
    kept = ModuleAttributes(model)
    inside.zero_()
    listed.clear()
    model.table["a"] = torch.zeros(2)
    kept.put_back()
    assert model.table["a"] is inside is model.cache[-1][0]
    assert model.table["b"] is listed is model.cache[-1][1][0]
    assert torch.equal(inside, torch.ones(2))
    assert listed == [1, 2]


def test_parameters_buffers_and_children_are_others_to_put_back() -> None:
    model = Keeping()
    kept = ModuleAttributes(model)
    with torch.no_grad():
        model.inner.weight.fill_(5.0)
    model.get_buffer("known").fill_(5.0)
    model.added = nn.Linear(1, 1)
    kept.put_back()
    assert torch.equal(model.inner.weight, torch.full((2, 2), 5.0))
    assert torch.equal(model.get_buffer("known"), torch.full((2,), 5.0))
    assert "added" in dict(model.named_children())


def test_children_are_looked_into_at_any_depth() -> None:
    model = nn.Sequential(nn.Sequential(Keeping()), Keeping())
    kept = ModuleAttributes(model)
    for module in model.modules():
        if isinstance(module, Keeping):
            module.count = 0
    kept.put_back()
    assert [module.count for module in model.modules() if isinstance(module, Keeping)] == [3, 3]


def test_an_object_of_the_users_is_put_back_as_it_is() -> None:
    class Meter:
        def __init__(self) -> None:
            self.total = 0

    model = Keeping()
    model.meter = Meter()  # type: ignore[assignment]
    held: Any = model.meter
    kept = ModuleAttributes(model)
    held.total = 5
    model.meter = None  # type: ignore[assignment]
    kept.put_back()
    assert model.meter is held
    assert held.total == 5


def test_a_tensor_with_a_graph_is_not_written_to() -> None:
    model = Keeping()
    model.hidden = torch.ones(3, requires_grad=True) * 2
    held: Tensor = model.hidden
    version = versions_of([held])
    kept = ModuleAttributes(model)
    model.hidden = torch.zeros(3)
    kept.put_back()
    assert model.hidden is held
    assert versions_of([held]) == version


def test_a_tensor_that_is_as_it_was_is_not_written_to() -> None:
    """Its version tells who keeps it that nobody wrote to it."""
    model = Keeping()
    version = versions_of([model.hidden])
    kept = ModuleAttributes(model)
    kept.put_back()
    assert versions_of([model.hidden]) == version
