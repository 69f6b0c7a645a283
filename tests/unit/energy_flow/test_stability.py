from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from energy_flow import stability
from energy_flow.carrier import EnergyCarrier
from energy_flow.stability import (
    DeviceTally,
    clip_each_,
    count_extremes,
    gradient_health,
    initialize_gru_,
    sanitize,
    tensor_health,
)

CPU = torch.device("cpu")
ANY_FLOATS = st.lists(st.floats(width=32), min_size=1, max_size=20)


@given(ANY_FLOATS, st.floats(0.125, 1000.0, width=32))
def test_sanitizing_replaces_clamps_and_counts(values: list[float], clip: float) -> None:
    tally = DeviceTally()
    clean = sanitize(torch.tensor(values), clip, tally).tolist()
    expected = [0.0 if math.isnan(value) else max(-clip, min(clip, value)) for value in values]
    assert clean == expected
    assert tally.take(CPU).item() == sum(not math.isfinite(value) for value in values)


def test_the_short_way_on_the_cpu_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    carrier, inputs = EnergyCarrier(), (torch.randn(6, 64), torch.randn(6, 1), torch.rand(2, 6, 32))
    results = []
    for short in (True, False):
        if not short:
            monkeypatch.setattr(stability, "_surely_within", lambda values, bound: False)
        carrier.zero_grad()
        output, hidden = carrier(*inputs)
        (output.sum() + hidden.square().sum()).backward()
        gradients = [parameter.grad for parameter in carrier.parameters()]
        results.append((output, hidden, *gradients, carrier.sanitized(), carrier.extremes()))
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


@pytest.mark.parametrize("bound", [6e4, 1e5, 1e30])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_bound_beyond_what_the_type_holds_is_none(dtype: torch.dtype, bound: float) -> None:
    """The config takes such bounds, and the heads of a carrier under autocast give numbers of 16 bits."""
    values, tally, extremes = (
        torch.tensor([torch.nan, torch.inf, -torch.inf, 4.0], dtype=dtype),
        DeviceTally(),
        DeviceTally(),
    )
    count_extremes(values, bound, extremes)
    most = float(torch.tensor(min(bound, torch.finfo(dtype).max), dtype=dtype))
    assert sanitize(values, bound, tally).tolist() == [0.0, most, -most, 4.0]
    assert (tally.take(CPU).item(), extremes.take(CPU).item()) == (3, 0)


def test_a_taken_tally_starts_again_from_zero() -> None:
    tally = DeviceTally()
    sanitize(torch.tensor([torch.nan, 1.0]), 10.0, tally)
    sanitize(torch.tensor([torch.inf, -torch.inf]), 10.0, tally)
    assert tally.take(CPU).item() == 3
    assert tally.take(CPU).item() == 0


def test_replaced_and_clamped_values_pass_no_gradient() -> None:
    values = torch.tensor([1.0, torch.nan, torch.inf, -torch.inf, 20.0, -20.0, -3.0], requires_grad=True)
    sanitize(values, 10.0, DeviceTally()).sum().backward()
    assert values.grad is not None
    assert values.grad.tolist() == [1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0]


@given(ANY_FLOATS)
def test_extremes_are_finite_values_beyond_the_threshold(values: list[float]) -> None:
    tally = DeviceTally()
    count_extremes(torch.tensor(values), 100.0, tally)
    assert tally.take(CPU).item() == sum(math.isfinite(value) and abs(value) > 100.0 for value in values)


@given(ANY_FLOATS)
def test_health_counts_each_kind_apart(values: list[float]) -> None:
    assert tensor_health(torch.tensor(values), 1000.0).tolist() == [
        sum(map(math.isnan, values)),
        sum(map(math.isinf, values)),
        sum(math.isfinite(value) and abs(value) >= 1000.0 for value in values),
    ]


@pytest.mark.parametrize("method", ["orthogonal", "xavier"])
def test_only_the_update_gate_gets_a_bias(method: str) -> None:
    gru = nn.GRU(5, 4, 2)
    initialize_gru_(gru, method)  # type: ignore[arg-type]
    for layer in (0, 1):
        # PyTorch orders the gates reset, update, new.
        assert getattr(gru, f"bias_hh_l{layer}").tolist() == [0.0] * 4 + [1.0] * 4 + [0.0] * 4
        assert getattr(gru, f"bias_ih_l{layer}").abs().sum().item() == 0.0


def test_hidden_weights_are_orthogonal_in_each_gate_block() -> None:
    gru = nn.GRU(5, 8)
    initialize_gru_(gru)
    for block in gru.weight_hh_l0.detach().chunk(3):
        torch.testing.assert_close(block @ block.T, torch.eye(8))


def test_input_weights_are_xavier_in_each_gate_block() -> None:
    gru = nn.GRU(200, 100)
    initialize_gru_(gru)
    bound = math.sqrt(6.0 / 300.0)
    for block in gru.weight_ih_l0.detach().chunk(3):
        assert 0.99 * bound < block.abs().max().item() <= bound
        assert block.std().item() == pytest.approx(bound / math.sqrt(3.0), rel=0.02)


def test_initialisation_with_a_generator_leaves_the_global_one_alone() -> None:
    first, second = nn.GRU(5, 4), nn.GRU(5, 4)
    before = torch.get_rng_state()
    for gru in (first, second):
        initialize_gru_(gru, generator=torch.Generator().manual_seed(3))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


def test_each_gradient_is_clipped_by_itself() -> None:
    long, short, none = (nn.Parameter(torch.zeros(2)) for _ in range(3))
    long.grad, short.grad = torch.tensor([30.0, 40.0]), torch.tensor([0.3, 0.4])
    clip_each_([long, short, none], 1.0)
    torch.testing.assert_close(long.grad, torch.tensor([0.6, 0.8]))
    assert short.grad.tolist() == torch.tensor([0.3, 0.4]).tolist(), "a short gradient must keep its bits"


def test_a_zero_gradient_stays_zero() -> None:
    parameter = nn.Parameter(torch.zeros(2))
    parameter.grad = torch.zeros(2)
    clip_each_([parameter], 1.0)
    assert parameter.grad.tolist() == [0.0, 0.0]


def test_gradient_health_sees_the_gradients_of_all_parameters() -> None:
    first, second, none = (nn.Parameter(torch.zeros(3)) for _ in range(3))
    first.grad = torch.tensor([torch.nan, 5.0, 200.0])
    second.grad = torch.tensor([torch.inf, -torch.inf, -300.0])
    health = gradient_health([first, second, none], 100.0)
    assert (health.nan, health.inf, health.extreme) == (1, 2, 2)
    assert not health.ok
    assert gradient_health([none], 100.0).ok
