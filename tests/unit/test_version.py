"""The version stands in two places, which agree."""

from __future__ import annotations

import tomllib
from pathlib import Path

import supervisor
from supervisor.version import __version__

ROOT = Path(__file__).resolve().parents[2]


def test_it_is_that_of_the_distribution() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert __version__ == project["version"] == supervisor.__version__
