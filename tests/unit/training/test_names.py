"""Names of parameters: those of the model, compiled or not, and numbers for what the optimizer alone holds."""

from __future__ import annotations

import torch
from torch import nn
from torch.optim import SGD

from supervisor.testing.tiny import TinyNet
from supervisor.training.names import named_parameters, parameter_names
from supervisor.training.optimizers import chained


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
