"""What a trainer fills in, found out in a process of its own that reads the real modules."""

from __future__ import annotations

from pathlib import Path

import pytest

from supervisor.process.default_values import with_default_values

MINE = """
from pydantic import BaseModel
print("as it is imported, it says something")
class Config(BaseModel):
    width: int = 8
    cell: str = "gru"
class Trainer:
    def __init__(self, config: Config, seed: int) -> None: ...
    @classmethod
    def from_config(cls, config, *, seed): return cls(Config(**config), seed)
class Plain:
    @classmethod
    def from_config(cls, config, *, seed): return cls()
"""


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine_with_defaults.py").write_text(MINE, encoding="utf-8")


def test_what_is_not_written_is_filled_in() -> None:
    assert with_default_values("mine_with_defaults:Trainer", {"width": 3}) == {"width": 3, "cell": "gru"}


@pytest.mark.parametrize(
    ("trainer", "config"),
    [
        ("mine_with_defaults:Plain", {}),
        ("mine_with_defaults:Trainer", {"width": "wide"}),
        ("not_there:Trainer", {}),
    ],
    ids=["no model", "not valid", "no module"],
)
def test_where_it_cannot_be_told_nothing_is(trainer: str, config: dict[str, object]) -> None:
    assert with_default_values(trainer, config) is None


def test_what_json_does_not_take_is_not_asked_for() -> None:
    assert with_default_values("mine_with_defaults:Trainer", {"width": object()}) is None
