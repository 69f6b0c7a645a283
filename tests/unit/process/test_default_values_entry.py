from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from pydantic import BaseModel

from energy_flow.energy_trainer import EnergyTrainer
from energy_flow.trainer_config import EnergyTrainerConfig
from supervisor.errors import ExitCode
from supervisor.process.default_values_entry import config_model, main

if TYPE_CHECKING:
    from pathlib import PurePath


class Config(BaseModel):
    width: int = 8


class Mine:
    def __init__(self, seed: int, config: Config) -> None: ...


class Bare:
    pass


class Unresolved:
    def __init__(self, config: PurePath) -> None: ...


def test_the_model_is_the_one_that_the_constructor_takes() -> None:
    assert config_model(Mine) is Config
    assert config_model(EnergyTrainer) is EnergyTrainerConfig
    assert config_model(Bare) is None


def test_the_whole_config_is_printed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [*sys.path])
    monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps({"preset": "debug", "carrier_cell": "lru"})))
    assert main(["energy_flow.energy_trainer:EnergyTrainer"]) == ExitCode.FINISHED
    told = json.loads(capsys.readouterr().out)
    assert (told["preset"], told["carrier_cell"], told["carrier_hidden_size"]) == ("debug", "lru", 256)


@pytest.mark.parametrize("trainer", ["test_nothing:Mine", "builtins:dict", "energy_flow.energy_trainer:EnergyTrainer"])
def test_what_cannot_be_told_is_not(
    trainer: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [*sys.path])
    monkeypatch.setattr("sys.stdin", io.StringIO('{"carrier_cell": "lstm"}'))
    assert main([trainer]) == ExitCode.BAD_INPUT
    assert capsys.readouterr().out == ""


def test_an_annotation_that_cannot_be_resolved_is_an_error_of_its_own() -> None:
    with pytest.raises(NameError):
        config_model(Unresolved)
