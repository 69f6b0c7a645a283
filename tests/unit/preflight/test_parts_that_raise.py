"""Whatever of the trainer raises on the way is a finding with its line, and no failure of the preflight itself."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from supervisor.preflight.entry import JobTrial
from supervisor.preflight.report import Preflight
from supervisor.preflight.spec import PreflightSpec

Spec = Callable[..., PreflightSpec]

TRAINER = '''
import torch
from table import Table


class Stream:
    """Batches without rows to ask for, whose place can be saved."""

    def __init__(self, batches):
        self.batches = batches
        self.at = 0

    def __iter__(self):
        for batch in self.batches:
            yield batch

    def state_dict(self):
        return {"at": self.at}

    def load_state_dict(self, state):
        self.at = state["at"]


class Odd(Table):
    """A table of which one method raises, from its call number `after` on."""

    @classmethod
    def from_config(cls, config, *, seed):
        config = {**config}
        part, method, after = config.pop("part"), config.pop("method"), config.pop("after", 0)
        trainer = super().from_config(config, seed=seed)
        trainer.scheduler = torch.optim.lr_scheduler.ConstantLR(trainer.optimizer)
        trainer.extra = 0
        if part == "data":
            trainer.data = Stream([*trainer.data])
        held = trainer if part == "trainer" else getattr(trainer, part)
        kind = type(held)
        original = getattr(kind, method, None)
        calls = 0

        def raising(*args, **kwargs):
            nonlocal calls
            calls += 1
            if calls > after:
                raise RuntimeError(f"no {method} today")  # the line at fault
            return original(*args, **kwargs)

        held.__class__ = type(kind.__name__, (kind,), {method: raising})
        return trainer

    def state_dict(self):
        return {"extra": self.extra}

    def load_state_dict(self, state):
        self.extra = state["extra"]

    def on_gradients(self, total_norm):
        pass

    def sanitized(self):
        return torch.zeros(())
'''
LINE = 1 + TRAINER.splitlines().index('                raise RuntimeError(f"no {method} today")  # the line at fault')


@pytest.fixture
def tried(spec: Spec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Preflight]:
    """What a preflight finds of a trainer of which one method raises."""
    # Its import is undone.
    monkeypatch.setitem(sys.modules, "odd", sys)
    del sys.modules["odd"]

    def tried(part: str, method: str, after: int = 0, rows: int | None = None) -> Preflight:
        told = spec(rows, trainer="odd:Odd", config={"part": part, "method": method, "after": after})
        (tmp_path / "odd.py").write_text(TRAINER)
        return JobTrial(told).run()

    return tried


@pytest.mark.parametrize(
    ("part", "method", "after"),
    [
        ("scheduler", "state_dict", 0),
        ("scheduler", "state_dict", 2),
        ("scheduler", "load_state_dict", 0),
        ("trainer", "state_dict", 0),
        ("trainer", "state_dict", 2),
        ("trainer", "load_state_dict", 0),
        ("data", "state_dict", 0),
        ("data", "state_dict", 1),
        ("data", "load_state_dict", 0),
        ("model", "get_extra_state", 0),
    ],
)
def test_a_state_that_cannot_be_taken_or_put_back(
    tried: Callable[..., Preflight], part: str, method: str, after: int
) -> None:
    (problem,) = tried(part, method, after).problems
    assert re.search(rf"no {method} today \(.*odd\.py:{LINE}\)$", problem), problem


def test_a_model_that_cannot_be_exported_is_a_warning(tried: Callable[..., Preflight]) -> None:
    """A run takes the parameters one by one, and never asks the model for its `state_dict`."""
    found = tried("model", "state_dict")
    assert found.problems == ()
    (warning,) = found.warnings
    assert re.match(rf"the model's state_dict raises RuntimeError: no state_dict today \(.*odd\.py:{LINE}\)", warning)
    assert warning.endswith("`supervisor export` could not write the model")


def test_a_mistake_of_the_preflight_itself_is_not_the_trainers(
    tried: Callable[..., Preflight], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("supervisor.preflight.entry.storage_of", lambda: None)
    with pytest.raises(TypeError):
        tried("trainer", "nothing")


@pytest.mark.parametrize(
    ("part", "method"),
    [("data", "__iter__"), ("data", "__len__"), ("trainer", "on_gradients"), ("trainer", "sanitized")],
)
def test_what_is_called_beside_the_loss(tried: Callable[..., Preflight], part: str, method: str) -> None:
    found = tried(part, method)
    (problem,) = found.problems
    assert re.search(rf"no {method} today.*odd\.py:{LINE}\)", problem), problem


def test_an_evaluation_that_raises_is_a_warning_with_its_line(tried: Callable[..., Preflight]) -> None:
    found = tried("trainer", "evaluate")
    assert found.problems == ()
    assert re.search(rf"evaluate raises RuntimeError: no evaluate today \(.*odd\.py:{LINE}\)", found.warnings[0])
