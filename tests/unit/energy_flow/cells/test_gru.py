from __future__ import annotations

import torch
from torch import nn

from energy_flow.cells.gru import Gru
from energy_flow.stability import initialize_gru_


def test_a_new_one_draws_from_the_global_generator_what_torchs_own_draws() -> None:
    torch.manual_seed(3)
    plain, after = nn.GRU(5, 4, 2), torch.rand(3)
    torch.manual_seed(3)
    cell = Gru(5, 4, 2)
    assert torch.equal(torch.rand(3), after)
    assert all(torch.equal(a, b) for a, b in zip(plain.parameters(), cell.parameters(), strict=True))


def test_a_reset_draws_by_the_stable_rule() -> None:
    for method in ("orthogonal", "xavier"):
        plain, cell = nn.GRU(5, 4, 2), Gru(5, 4, 2, method)  # type: ignore[arg-type]
        initialize_gru_(plain, method, torch.Generator().manual_seed(3))  # type: ignore[arg-type]
        cell.reset_parameters(torch.Generator().manual_seed(3))
        assert all(torch.equal(a, b) for a, b in zip(plain.parameters(), cell.parameters(), strict=True))


def test_names_and_shapes_are_torchs_own() -> None:
    plain, cell = nn.GRU(5, 4, 2), Gru(5, 4, 2)
    assert {name: value.shape for name, value in plain.state_dict().items()} == {
        name: value.shape for name, value in cell.state_dict().items()
    }
