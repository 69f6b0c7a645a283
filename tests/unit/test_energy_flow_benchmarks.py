"""What the benchmarks of EnergyFlow do to a model, and what they write."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from benchmarks.energy_flow_held_out import (
    Row,
    forget_memory,
    freeze_flows,
    shuffle_flows,
    take_flows_out,
    trained,
)
from benchmarks.energy_flow_profile import Bound, profiled
from energy_flow.config import EnergyConfig
from energy_flow.model import EnergyFlow

# What benchmarks are made of breaks nothing that users run.
pytestmark = pytest.mark.slow


def model() -> EnergyFlow:
    torch.manual_seed(0)
    return EnergyFlow(EnergyConfig(embedding_dim=12, embedding_part_dim=3)).eval()


def answers(measured: EnergyFlow) -> Tensor:
    with torch.no_grad():
        given: Tensor = measured(torch.randn(3, 12, generator=torch.Generator().manual_seed(1))).answer_BE
    return given


def test_flows_that_are_frozen_stay_as_they_were_drawn_while_the_rest_learns(tmp_path: Path) -> None:
    rows = torch.randn(60, 12)
    save_file({"questions": rows, "answers": rows.flip(1).contiguous()}, tmp_path / "pairs.safetensors")
    config = {
        "data": str(tmp_path / "pairs.safetensors"),
        "embedding_dim": 12,
        "embedding_part_dim": 3,
        "validation_pairs": 10,
        "candidate_pool": 10,
        "batch_size": 4,
    }
    fresh = trained(config, 0, 1, freeze_flows).model.state_dict()
    for name, value in trained(config, 3, 1, freeze_flows).model.state_dict().items():
        assert torch.equal(value, fresh[name]) is name.startswith(("neuron.", "carrier.")), name


def test_without_flows_the_carrier_does_not_matter() -> None:
    measured = model()
    take_flows_out(measured)
    before = answers(measured)
    measured.carrier.reset_parameters(torch.Generator().manual_seed(2))
    assert torch.equal(answers(measured), before)


def test_flows_that_are_shuffled_bring_their_own_to_other_cells() -> None:
    measured = model()
    before = answers(measured)
    shuffle_flows(measured)
    assert not torch.allclose(answers(measured), before, atol=1e-4)
    assert torch.equal(answers(measured), answers(measured))


def test_flows_without_memory_bring_their_energy_alone() -> None:
    measured = model()
    forget_memory(measured)
    before = answers(measured)
    assert measured.unload is not None
    with torch.no_grad():
        measured.unload.weight.normal_()
    assert torch.equal(answers(measured), before)


def test_a_row_is_one_of_a_table() -> None:
    assert str(Row("mine", (0.5, 0.25, 0.1, 0.2), 61.4)) == "| mine | 0.500 | 0.250 | 0.100 | 0.200 | 61 |"


def test_what_bounds_a_step_is_told_from_where_its_time_goes() -> None:
    large = torch.randn(600, 600)

    def multiply() -> None:
        torch.mm(large, large)

    assert str(profiled(multiply, 3)).startswith("matrix products: ")
    assert str(Bound(calls=1000, seconds=0.01, products=0.2, flops=1e9)) == (
        "many small calls: 1,000 a step of 10 µs each; 20% of the time in matrix products, at 1 GFLOP/s"
    )
    assert str(Bound(calls=10, seconds=0.01, products=0.2, flops=1e9)).startswith("element-wise work on the flows: ")
