"""Modules whose weights are computed: what is drawn afresh has to arrive in what they are computed from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize

from supervisor.actions.module_matching import match_modules, recurrent_modules
from supervisor.actions.redraw import redraw_
from supervisor.errors import ActionError
from supervisor.policy import RedrawMethod


class Doubled(nn.Module):
    """Cannot take a weight apart."""

    def forward(self, x: Tensor) -> Tensor:
        return 2 * x


@pytest.mark.parametrize("norm", [parametrizations.weight_norm, parametrizations.spectral_norm])
def test_a_layer(norm: Callable[[nn.Module], nn.Module]) -> None:
    torch.manual_seed(0)
    module: Any = norm(nn.Linear(5, 4))
    held = dict(module.named_parameters())
    before = {name: parameter.detach().clone() for name, parameter in held.items()}
    redraw_("layer", module, RedrawMethod.ORTHOGONAL)
    after = dict(module.named_parameters())
    assert all(after[name] is held[name] and not torch.equal(after[name], before[name]) for name in held)
    assert module.weight.abs().max() <= 1.0


def test_the_same_draw_as_without_the_parametrization() -> None:
    module: Any = parametrizations.weight_norm(nn.Linear(5, 4))
    torch.manual_seed(3)
    redraw_("layer", module, RedrawMethod.ORTHOGONAL)
    torch.manual_seed(3)
    plain = nn.Linear(5, 4)
    torch.manual_seed(3)
    plain.reset_parameters()
    torch.testing.assert_close(module.weight, plain.weight)
    assert torch.equal(module.bias, plain.bias)


def test_a_gru_is_drawn_by_the_rule_for_grus_and_found_by_its_class() -> None:
    model = nn.Sequential(parametrizations.weight_norm(nn.GRU(4, 3), "weight_hh_l0"))
    assert list(match_modules(model, ["GRU"])) == list(recurrent_modules(model)) == ["0"]
    module: Any = model[0]
    redraw_("gru", module, RedrawMethod.ORTHOGONAL)
    gate = module.weight_hh_l0[:3].detach()
    torch.testing.assert_close(gate @ gate.T, torch.eye(3))
    assert torch.equal(module.bias_hh_l0.detach()[3:6], torch.ones(3))


def test_one_that_cannot_be_taken_apart_is_an_error() -> None:
    module = nn.Linear(3, 3)
    parametrize.register_parametrization(module, "weight", Doubled())
    with pytest.raises(RuntimeError, match="Doubled does not implement right_inverse"):
        redraw_("layer", module, RedrawMethod.ORTHOGONAL)


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("norm", [nn.utils.weight_norm, nn.utils.spectral_norm])
def test_weights_from_a_hook_are_refused_with_the_mend(norm: Any) -> None:
    with pytest.raises(ActionError, match=r"use torch\.nn\.utils\.parametrizations"):
        redraw_("layer", norm(nn.Linear(3, 3)), RedrawMethod.ORTHOGONAL)


def test_a_compiled_part_of_what_is_redrawn() -> None:
    inner = nn.GRU(4, 3)
    redraw_("model", nn.Sequential(torch.compile(inner, backend="eager")), RedrawMethod.ORTHOGONAL)  # type: ignore[arg-type]
    assert torch.equal(inner.bias_hh_l0.detach()[3:6], torch.ones(3))
