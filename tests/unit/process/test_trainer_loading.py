"""From a name and a mapping to a trainer, and from every mistake to its line and mend."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from supervisor.config.origins import Origins
from supervisor.errors import InputError
from supervisor.process.trainer_loading import build_trainer, find_trainer, takes_steps

ORIGINS = Origins("j.yaml", {("trainer",): 2, ("config", "width"): 5}, {})

GOOD = """
    from pydantic import BaseModel, ConfigDict

    class Config(BaseModel):
        model_config = ConfigDict(extra="forbid")
        width: int = 8

    class Tiny:
        model = optimizer = data = loss = None

        def __init__(self, config, seed):
            self.config, self.seed = config, seed

        @classmethod
        def from_config(cls, config, *, seed):
            return cls(Config.model_validate(config), seed)

    class Outer:
        Inner = Tiny

    class Bare:
        pass

    class Half:
        model = data = None

        @classmethod
        def from_config(cls, config, *, seed):
            return cls()
"""

Module = Callable[[str, str], None]


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Module:
    """Writes a module into the working directory; nothing of it is left for the next test."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])

    def write(name: str, text: str) -> None:
        (tmp_path / f"{name}.py").write_text(textwrap.dedent(text))
        # Set and taken away again, so that it is taken away after the test too.
        monkeypatch.setitem(sys.modules, name, sys)
        del sys.modules[name]

    return write


def test_it_is_found_in_the_working_directory_and_built(module: Module) -> None:
    module("good_trainer", GOOD)
    trainer = build_trainer(find_trainer("good_trainer:Tiny", ORIGINS), {"width": 4}, 7, ORIGINS)
    assert (type(trainer).__name__, trainer.config.width, trainer.seed) == ("Tiny", 4, 7)  # type: ignore[attr-defined]
    assert find_trainer("good_trainer:Outer.Inner", ORIGINS) is type(trainer)
    assert sys.path[0] == str(Path.cwd())


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nowhere:Tiny", r"j\.yaml:2: trainer: there is no module nowhere: write `module:Class`"),
        ("nowhere.deep:Tiny", r"j\.yaml:2: trainer: there is no module nowhere: write `module:Class`"),
        (
            "good_trainer:Tinny",
            r"yaml:2: trainer: good_trainer has no Tinny: write one of its classes: Config, Tiny",
        ),
        ("good_trainer:Bare", r"j\.yaml:2: trainer: Bare has no from_config: give it a classmethod from_config"),
        (
            "torn_trainer:Tiny",
            r"torn_trainer cannot be imported \(SyntaxError: .*torn_trainer\.py:2\): mend",
        ),
        (
            "sad_trainer:Tiny",
            r"sad_trainer cannot be imported \(ValueError: no; .*sad_trainer\.py:2\): mend",
        ),
        ("poor_trainer:Tiny", "poor_trainer needs the module not_installed, which is not there: install not_installed"),
    ],
    ids=lambda value: value.partition(":")[0] if value.endswith("Tiny") else "",
)
def test_a_trainer_that_cannot_be_found(module: Module, name: str, said: str) -> None:
    module("good_trainer", GOOD)
    module("torn_trainer", "x = 1\ndef f(:\n")
    module("sad_trainer", "x = 1\nraise ValueError('no')\n")
    module("poor_trainer", "import not_installed\n")
    with pytest.raises(InputError, match=said):
        find_trainer(name, ORIGINS)


@pytest.mark.parametrize(
    ("signature", "told"),
    [
        ("config, *, seed, steps", 9),
        ("config, seed, steps=3", 9),
        ("config, *, seed", None),
        ("config, *, seed, **more", None),
    ],
)
def test_the_steps_are_handed_to_a_trainer_that_takes_them(module: Module, signature: str, told: int | None) -> None:
    text = GOOD.replace("def from_config(cls, config, *, seed):", f"def from_config(cls, {signature}):", 1)
    text = text.replace("return cls(Config", "cls.told = locals().get('steps'); return cls(Config", 1)
    module("stepping", text)
    kind = find_trainer("stepping:Tiny", ORIGINS)
    assert takes_steps(kind) is (told is not None)
    assert build_trainer(kind, {}, 7, ORIGINS, 9).told == told  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"width": "wide"}, r"j\.yaml:5: config\.width: .*: write"),
        ({"widht": 3}, r"config\.widht: no such key: .*width"),
    ],
)
def test_a_config_that_does_not_validate(module: Module, config: dict[str, object], said: str) -> None:
    module("good_trainer", GOOD)
    with pytest.raises(InputError, match=said):
        build_trainer(find_trainer("good_trainer:Tiny", ORIGINS), config, 0, ORIGINS)


def test_a_trainer_that_lacks_a_part(module: Module) -> None:
    module("good_trainer", GOOD)
    with pytest.raises(InputError, match=r"j\.yaml:2: trainer: Half has no optimizer, loss: a trainer needs model, "):
        build_trainer(find_trainer("good_trainer:Half", ORIGINS), {}, 0, ORIGINS)


@pytest.mark.parametrize("interval", ["'step'", "'epoch'", "None"])
def test_a_trainer_may_say_when_its_scheduler_steps(module: Module, interval: str) -> None:
    module("scheduling", GOOD.replace("model = optimizer", f"scheduler_interval = {interval}; model = optimizer"))
    assert build_trainer(find_trainer("scheduling:Tiny", ORIGINS), {}, 0, ORIGINS).model is None


def test_another_interval_is_refused_with_what_may_be_meant(module: Module) -> None:
    module("wrong", GOOD.replace("model = optimizer", "scheduler_interval = 'batch'; model = optimizer"))
    said = r'j\.yaml:2: trainer: Tiny.scheduler_interval is "batch": make it "step" or "epoch", or leave it out'
    with pytest.raises(InputError, match=said):
        build_trainer(find_trainer("wrong:Tiny", ORIGINS), {}, 0, ORIGINS)
