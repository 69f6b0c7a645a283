"""How modules are drawn afresh: recurrent ones gate by gate, others by their own rule where they have one."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from supervisor.actions.redraw import redraw_, redraw_recurrent_
from supervisor.errors import ActionError
from supervisor.policy import RedrawMethod

ORTHOGONAL, XAVIER = RedrawMethod.ORTHOGONAL, RedrawMethod.XAVIER


H = 6
RECURRENT: dict[str, Any] = {
    "gru": lambda: nn.GRU(4, H, num_layers=2, bidirectional=True),
    "gru-cell": lambda: nn.GRUCell(4, H),
    "gru-one-unit": lambda: nn.GRU(3, 1),
    "lstm": lambda: nn.LSTM(4, H, num_layers=2),
    "lstm-cell": lambda: nn.LSTMCell(4, H),
    "lstm-projected": lambda: nn.LSTM(4, H, proj_size=3),
    "rnn": lambda: nn.RNN(4, H),
    "rnn-cell": lambda: nn.RNNCell(4, H),
    "gru-without-bias": lambda: nn.GRU(4, H, bias=False),
    "gru-bfloat16": lambda: nn.GRU(4, H, dtype=torch.bfloat16),
    "gru-float64": lambda: nn.GRU(4, H, dtype=torch.float64),
}


def gates_of(name: str) -> int:
    return {"gru": 3, "lstm": 4, "rnn": 1}[name.split("-")[0]]


def spoil(module: nn.Module) -> None:
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.fill_(float("nan"))


def redrawn(name: str, method: RedrawMethod = ORTHOGONAL) -> dict[str, Tensor]:
    module = RECURRENT[name]()
    spoil(module)
    redraw_recurrent_(module, method)
    return {key: weight.detach() for key, weight in module.named_parameters()}


@pytest.mark.parametrize("name", RECURRENT)
class TestRecurrent:
    def test_each_gate_of_the_hidden_weights_is_orthogonal(self, name: str) -> None:
        hidden = {key: w for key, w in redrawn(name).items() if key.startswith("weight_hh")}
        assert hidden
        for weight in hidden.values():
            blocks = weight.double().chunk(gates_of(name))
            assert len(blocks) == gates_of(name)
            for block in blocks:
                square = block @ block.T if block.shape[0] <= block.shape[1] else block.T @ block
                tolerance = 0.05 if weight.dtype is torch.bfloat16 else 1e-5
                assert torch.allclose(square, torch.eye(len(square), dtype=torch.float64), atol=tolerance)

    def test_each_gate_of_the_input_weights_is_within_its_own_xavier_bound(self, name: str) -> None:
        for key, weight in redrawn(name).items():
            if not key.startswith("weight_ih"):
                continue
            for block in weight.double().chunk(gates_of(name)):
                bound = (6 / sum(block.shape)) ** 0.5
                assert block.abs().max() <= bound * 1.01
                assert block.abs().max() > bound * 0.3
                assert block.std() > 0

    def test_xavier_hidden_weights_are_not_orthogonal(self, name: str) -> None:
        for key, weight in redrawn(name, XAVIER).items():
            if key.startswith("weight_hh"):
                for block in weight.double().chunk(gates_of(name)):
                    assert block.abs().max() <= (6 / sum(block.shape)) ** 0.5 * 1.01
                    square = block @ block.T
                    assert not torch.allclose(square, torch.eye(len(square), dtype=torch.float64), atol=0.06)

    def test_biases_are_zero_but_for_the_gate_that_starts_open(self, name: str) -> None:
        biases = {key: w for key, w in redrawn(name).items() if key.startswith("bias")}
        assert bool(biases) is (name != "gru-without-bias")
        for key, bias in biases.items():
            gates = bias.chunk(gates_of(name))
            for index, gate in enumerate(gates):
                # The update gate of a GRU and the forget gate of an LSTM come second.
                is_open = key.startswith("bias_hh") and len(gates) > 1 and index == 1
                assert gate.tolist() == [1.0 if is_open else 0.0] * len(gate)

    def test_every_element_is_drawn_and_the_draw_is_the_generators(self, name: str) -> None:
        torch.manual_seed(3)
        first = redrawn(name)
        second = redrawn(name)
        torch.manual_seed(3)
        again = redrawn(name)
        assert all(torch.isfinite(weight).all() for weight in first.values())
        assert all(torch.equal(first[key], again[key]) for key in first)
        drawn = [key for key in first if key.startswith("weight") and first[key].numel() > 3]
        assert all(not torch.equal(first[key], second[key]) for key in drawn)

    def test_types_and_graph_needs_are_kept(self, name: str) -> None:
        module = RECURRENT[name]()
        before = {key: (w.dtype, w.requires_grad, w.data_ptr()) for key, w in module.named_parameters()}
        redraw_recurrent_(module, ORTHOGONAL)
        assert {key: (w.dtype, w.requires_grad, w.data_ptr()) for key, w in module.named_parameters()} == before


def test_gates_that_overlap_nowhere_make_a_model_that_runs() -> None:
    module = nn.GRU(4, H, num_layers=2)
    spoil(module)
    redraw_recurrent_(module, ORTHOGONAL)
    output, _ = module(torch.randn(5, 2, 4))
    assert torch.isfinite(output).all()


class Own(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(2))
        self.inner = nn.Linear(2, 2)

    def reset_parameters(self) -> None:
        with torch.no_grad():
            self.weight.fill_(7.0)


class OwnGru(nn.GRU):
    def reset_parameters(self) -> None:
        for weight in self.parameters():
            nn.init.constant_(weight, 0.25)


class Bare(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))


class TestAnyModule:
    def test_a_modules_own_rule_comes_first_and_is_the_whole_of_it(self) -> None:
        module = Own()
        inner = module.inner.weight.detach().clone()
        redraw_("own", module, ORTHOGONAL)
        assert module.weight.tolist() == [7.0, 7.0]
        assert torch.equal(module.inner.weight, inner)

    def test_a_wrapper_that_hands_on_the_rule_of_its_module_is_drawn_as_a_whole(self) -> None:
        class Wrapper(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.inner, self.head = Own(), nn.Linear(2, 2)

            def __getattr__(self, name: str) -> Any:
                try:
                    return super().__getattr__(name)
                except AttributeError:
                    return getattr(self.inner, name)

        module = Wrapper()
        spoil(module.head)
        redraw_("wrapper", module, ORTHOGONAL)
        assert module.inner.weight.tolist() == [7.0, 7.0]
        assert all(bool(torch.isfinite(weight).all()) for weight in module.head.parameters())

    def test_a_gru_with_its_own_rule_keeps_to_it(self) -> None:
        module = OwnGru(2, 3)
        spoil(module)
        redraw_("gru", module, ORTHOGONAL)
        assert {weight for w in module.parameters() for weight in w.flatten().tolist()} == {0.25}

    def test_torchs_own_recurrent_modules_are_drawn_stably(self) -> None:
        module = nn.GRU(2, 3)
        redraw_("gru", module, ORTHOGONAL)
        assert module.bias_hh_l0.tolist() == [0.0] * 3 + [1.0] * 3 + [0.0] * 3

    def test_containers_are_drawn_part_by_part(self) -> None:
        module = nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.GRU(2, 2), nn.LayerNorm(2)), nn.ReLU())
        spoil(module)
        redraw_("net", module, ORTHOGONAL)
        assert all(torch.isfinite(p).all() for p in module.parameters())

    def test_running_statistics_start_afresh_too(self) -> None:
        module = nn.BatchNorm1d(2)
        module.running_mean.fill_(float("nan"))
        redraw_("norm", module, ORTHOGONAL)
        assert module.running_mean.tolist() == [0.0, 0.0]

    def test_parameters_that_nothing_can_draw_are_an_error_that_says_the_mend(self) -> None:
        module = nn.Sequential(nn.Linear(1, 1), nn.Sequential(Bare()))
        with pytest.raises(ActionError, match=r"net\.1\.0 \(Bare\) has parameters and no reset_parameters\(\)"):
            redraw_("net", module, ORTHOGONAL)
