"""What an optimizer holds: taken as a copy, put back into the very tensors and groups."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from support.exact import assert_same
from torch import nn
from torch.optim import SGD, Adam

from supervisor.testing.tiny import TinyTrainer
from supervisor.training.modules import parameter_names
from supervisor.training.optimizer_state import (
    captured_groups,
    fits,
    groups_by_name,
    restore_optimizer,
    state_by_name,
)
from supervisor.training.optimizers import chained
from supervisor.training.tree import copied, plain


def captured(optimizer: Any, names: Any, spare: Any = None) -> dict[str, Any]:
    """As `Subject.capture` takes it."""
    return {"state": copied(state_by_name(optimizer, names), spare), "groups": captured_groups(optimizer, names)}


class Held:
    """A tiny training with its optimizer and the names of its parameters."""

    def __init__(self, make: Any = Adam) -> None:
        self.trainer = TinyTrainer()
        self.optimizer = make(self.trainer.model.parameters(), lr=0.01)
        self.names = parameter_names(self.trainer.model, self.optimizer)

    def step(self, times: int = 1) -> None:
        for batch in self.trainer.data[:times]:
            self.optimizer.zero_grad()
            self.trainer.loss(batch).backward()  # type: ignore[no-untyped-call]
            self.optimizer.step()

    def captured(self, spare: Any = None) -> dict[str, Any]:
        return captured(self.optimizer, self.names, spare)

    def restore(self, saved: Any) -> None:
        restore_optimizer(self.optimizer, self.names, saved)


def momentum(parameters: Any, **options: Any) -> SGD:
    return SGD(parameters, momentum=0.9, **options)


@pytest.mark.parametrize("make", [Adam, momentum])
class TestCaptureAndRestore:
    def test_the_state_is_named_and_shares_nothing(self, make: Any) -> None:
        held = Held(make)
        held.step()
        saved = held.captured()
        before = copy.deepcopy(saved)
        held.step(3)
        assert_same(saved, before)
        assert set(saved["state"]) == {name for name, _ in held.trainer.model.named_parameters()}
        assert saved["groups"][0]["params"] == list(saved["state"])

    def test_the_very_tensors_hold_the_captured_values_again(self, make: Any) -> None:
        held = Held(make)
        held.step()
        saved = held.captured()
        tensors = {name: dict(held.optimizer.state[parameter]) for parameter, name in held.names.items()}
        held.step(3)
        held.optimizer.param_groups[0]["lr"] = 7.0
        held.restore(saved)
        assert_same(held.captured(), saved)
        for parameter, name in held.names.items():
            for key, value in tensors[name].items():
                assert held.optimizer.state[parameter][key] is value

    def test_going_on_writes_nothing_into_what_was_captured(self, make: Any) -> None:
        held = Held(make)
        held.step()
        saved = held.captured()
        before = copy.deepcopy(saved)
        held.optimizer.state.clear()
        held.restore(saved)
        held.step(3)
        assert_same(saved, before)

    def test_a_state_from_before_the_first_step_clears_what_came_since(self, make: Any) -> None:
        held = Held(make)
        saved = held.captured()
        held.step()
        held.restore(saved)
        assert len(held.optimizer.state) == 0


def test_the_memory_of_an_earlier_copy_is_used_again() -> None:
    held = Held()
    held.step()
    spare = held.captured()["state"]
    held.step(3)
    saved = held.captured(spare)
    assert saved["state"]["inner.weight"]["exp_avg"] is spare["inner.weight"]["exp_avg"]
    assert_same(saved, held.captured())


def test_moments_of_another_type_are_replaced_and_not_cast() -> None:
    held = Held()
    held.step()
    saved = held.captured()
    parameter = held.trainer.model.get_parameter("inner.weight")
    saved["state"]["inner.weight"]["exp_avg"] = saved["state"]["inner.weight"]["exp_avg"].double()
    held.restore(saved)
    assert held.optimizer.state[parameter]["exp_avg"].dtype is torch.float64
    assert held.optimizer.state[parameter]["exp_avg"] is not saved["state"]["inner.weight"]["exp_avg"]


def test_what_belongs_to_no_parameter_is_kept_under_its_own_key() -> None:
    held = Held()
    held.step()
    held.optimizer.state["shared"] = {"count": 3}
    saved = held.captured()
    assert saved["state"]["shared"] == {"count": 3}
    held.optimizer.state["shared"]["count"] = 9
    held.restore(saved)
    assert held.optimizer.state["shared"] == {"count": 3}


def test_a_group_added_since_keeps_its_options_and_begins_without_state() -> None:
    held = Held()
    held.step()
    saved = held.captured()
    later = nn.Parameter(torch.ones(2))
    held.optimizer.add_param_group({"params": [later], "lr": 0.5})
    held.optimizer.state[later] = {"exp_avg": torch.ones(2)}
    held.names[later] = "later"
    held.optimizer.param_groups[0]["lr"] = 9.0
    held.restore(saved)
    assert [group["lr"] for group in held.optimizer.param_groups] == [0.01, 0.5]
    assert later not in held.optimizer.state


def test_groups_are_told_apart_by_their_first_parameter_or_their_place() -> None:
    one, other = nn.Parameter(torch.ones(1)), nn.Parameter(torch.ones(1))
    names = {one: "one", other: "other"}
    groups = [{"params": [other, one], "lr": 1}, {"params": [], "lr": 2}]
    assert groups_by_name(groups, names) == {"other": groups[0], "param_groups.1": groups[1]}
    captured = [{"params": ["other", "one"]}, {"params": []}]
    assert list(groups_by_name(captured, names)) == ["other", "param_groups.1"]


def test_what_belongs_to_no_parameter_of_several_optimizers_stands_in_a_checkpoint(tmp_path: Path) -> None:
    """Two of a kind keep it under the same key, and each gets its own back."""
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    optimizers = [SGD(layer.parameters(), lr=0.1) for layer in model]
    states: list[Any] = [each.state for each in optimizers]
    for number, state in enumerate(states):
        state["norms"] = {"mean": torch.tensor(float(number))}
    both = chained(optimizers)
    names = parameter_names(model, both)
    torch.save(plain(captured(both, names)), tmp_path / "state.pt")
    for state in states:
        del state["norms"]
    restore_optimizer(both, names, torch.load(tmp_path / "state.pt", weights_only=True))
    assert [state["norms"]["mean"].item() for state in states] == [0.0, 1.0]


def test_several_optimizers_are_captured_as_one() -> None:
    trainer = TinyTrainer()
    weights = [parameter for parameter in trainer.model.parameters() if parameter.dim() > 1]
    others = [parameter for parameter in trainer.model.parameters() if parameter.dim() == 1]
    both = chained([Adam(weights, lr=0.01), momentum(others, lr=0.1)])
    names = parameter_names(trainer.model, both)
    trainer.loss(trainer.data[0]).backward()  # type: ignore[no-untyped-call]
    both.step()
    saved = captured(both, names)
    both.step()
    restore_optimizer(both, names, saved)
    assert_same(captured(both, names), saved)
    assert [group["lr"] for group in saved["groups"]] == [0.01, 0.1]


@pytest.mark.parametrize(
    ("other", "expected"),
    [(torch.zeros(2), True), (torch.zeros(3), False), (torch.zeros(2, dtype=torch.float64), False)],
    ids=["alike", "shape", "type"],
)
def test_what_can_be_copied_without_loss(other: torch.Tensor, expected: bool) -> None:
    assert fits(torch.ones(2), other) is expected
