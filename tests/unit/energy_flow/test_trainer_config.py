"""What a job's `config` may say beside the model's own fields."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from energy_flow.config import EnergyConfig
from energy_flow.trainer_config import EnergyTrainerConfig


def test_every_field_says_what_it_is() -> None:
    fields = EnergyTrainerConfig.model_fields
    assert [name for name, field in fields.items() if not field.description] == []


def test_written_values_win_over_the_preset() -> None:
    config = EnergyTrainerConfig.model_validate({"preset": "debug", "lattice_width": 6})
    assert (config.lattice_width, config.lattice_height, config.carrier_hidden_size) == (6, 20, 256)


@pytest.mark.parametrize("name", ["huge", 3, ["small"], {"small": 1}])
def test_an_unknown_preset_in_a_job_is_named_as_the_user_wrote_it(name: object) -> None:
    with pytest.raises(ValidationError) as caught:
        EnergyTrainerConfig.model_validate({"preset": name})
    assert [error["loc"] for error in caught.value.errors()] == [("preset",)]


def test_a_pool_larger_than_the_held_out_pairs_is_refused() -> None:
    with pytest.raises(ValidationError, match="write 100 or less"):
        EnergyTrainerConfig.model_validate({"validation_pairs": 100, "candidate_pool": 101})


def test_the_fields_of_the_model_stand_beside_those_of_its_training() -> None:
    config = EnergyTrainerConfig.model_validate({"lattice_width": 6, "batch_size": 4})
    assert isinstance(config, EnergyConfig)
    assert (config.lattice_width, config.batch_size) == (6, 4)


@pytest.mark.parametrize("wrong", [{"learning_rate": 0.0}, {"batch_size": True}, {"batchsize": 4}, {"data": 3}])
def test_wrong_values_are_refused_by_their_key(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        EnergyTrainerConfig.model_validate(wrong)
