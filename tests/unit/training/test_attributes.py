"""Plain attributes of modules: taken and put back."""

from __future__ import annotations

import torch
from torch import nn

from supervisor.training.attributes import ModuleAttributes


class Remembers(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.GRU(2, 3)
        self.count = 0
        self.hidden = torch.zeros(2)
        self.history = [torch.ones(1)]
        self.seen = {"rows": 1}
        self.names = {"a"}
        self.helper = object()


def test_what_a_pass_changes_comes_back_as_the_very_objects() -> None:
    model = Remembers()
    held = dict(vars(model))
    kept = ModuleAttributes(model)
    model.hidden.add_(1)
    model.history[0].add_(1)
    model.history.append(torch.ones(2))
    model.seen["rows"] = 2
    model.names.add("b")
    model.count, model.helper, model.late = 5, object(), 1
    del model.names
    kept.put_back()
    assert {key: vars(model)[key] is value for key, value in held.items()} == dict.fromkeys(held, True)
    assert not hasattr(model, "late")
    assert (model.count, model.seen, model.names) == (0, {"rows": 1}, {"a"})
    assert model.hidden.tolist() == [0, 0]
    assert [each.tolist() for each in model.history] == [[1]]


def test_a_hidden_state_with_a_graph_comes_back_as_it_was() -> None:
    model = Remembers()
    model.hidden = hidden = model.inner(torch.ones(1, 1, 2))[0]
    kept = ModuleAttributes(model)
    model.hidden = hidden.detach()
    kept.put_back()
    assert model.hidden is hidden


def test_the_weights_that_a_recurrent_module_lists_stay_its_own() -> None:
    model = Remembers()
    kept = ModuleAttributes(model)
    with torch.no_grad():
        model.inner.weight_hh_l0.add_(1)
    after = model.inner.weight_hh_l0.clone()
    kept.put_back()
    assert torch.equal(model.inner.weight_hh_l0, after), "a parameter is no plain attribute"
    assert model.inner.all_weights[0][1] is model.inner.weight_hh_l0


def test_there_is_nothing_to_put_back_where_nothing_changed() -> None:
    model = nn.Linear(2, 2)
    before = dict(vars(model))
    ModuleAttributes(model).put_back()
    assert vars(model).keys() == before.keys()
