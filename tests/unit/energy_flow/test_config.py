from __future__ import annotations

import pytest
from pydantic import ValidationError

from energy_flow.config import EnergyConfig

SAFETY_FIELDS = {
    "gru_max_gradient_norm": 1.0,
    "gru_input_clip_value": 10.0,
    "gru_output_clip_value": 10.0,
    "enable_gru_nan_protection": True,
    "gru_initialization_method": "orthogonal",
    "enable_detailed_gradient_monitoring": False,
    "log_extreme_values": True,
    "extreme_value_threshold": 100.0,
}


def test_safety_fields_have_their_names_and_defaults() -> None:
    written = EnergyConfig().model_dump()
    assert {name: written[name] for name in SAFETY_FIELDS} == SAFETY_FIELDS


@pytest.mark.parametrize(
    ("name", "lattice", "hidden", "layers"),
    [("small", (8, 8, 8), 32, 2), ("debug", (20, 20, 10), 256, 2), ("experiment", (28, 28, 40), 512, 3)],
)
def test_presets_have_the_promised_sizes(name: str, lattice: tuple[int, int, int], hidden: int, layers: int) -> None:
    config = EnergyConfig.preset(name)  # type: ignore[arg-type]
    assert (config.lattice_width, config.lattice_height, config.lattice_depth) == lattice
    assert (config.carrier_hidden_size, config.carrier_layers) == (hidden, layers)


def test_an_unknown_preset_is_refused_with_the_known_names() -> None:
    with pytest.raises(ValueError, match="small, debug, experiment"):
        EnergyConfig.preset("huge")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "wrong",
    [
        {"lattice_width": "8"},
        {"lattice_width": True},
        {"lattice_width": 8.0},
        {"lattice_width": 1},
        {"lattice_depth": 7},
        {"gru_max_gradient_norm": 0.0},
        {"gru_input_clip_value": float("nan")},
        {"gru_output_clip_value": float("inf")},
        {"gru_initialization_method": "normal"},
        {"enable_gru_nan_protection": 1},
        {"carrier_cell": "lstm"},
        {"carrier_cell": "GRU"},
        {"latice_width": 8},
    ],
)
def test_wrong_values_are_refused(wrong: dict[str, object]) -> None:
    (key,) = wrong
    with pytest.raises(ValidationError, match=key):
        EnergyConfig.model_validate(wrong)


def test_an_lru_has_an_even_hidden_size() -> None:
    with pytest.raises(ValidationError, match=r"carrier_hidden_size: an lru .* 7 is odd: write 8"):
        EnergyConfig(carrier_cell="lru", carrier_hidden_size=7)
    assert EnergyConfig(carrier_cell="mingru", carrier_hidden_size=7).carrier_hidden_size == 7


def test_every_field_says_what_it_is() -> None:
    assert [name for name, field in EnergyConfig.model_fields.items() if not field.description] == []


def test_what_follows_from_the_sizes() -> None:
    config = EnergyConfig(lattice_width=6, lattice_height=4, lattice_depth=10, max_spawned_flows=7)
    assert (config.surface_cells, config.flow_slots, config.steps) == (24, 31, 5)
