"""What `make` trusts: a `.venv` that was made to its end, here, of what is asked for now."""

from __future__ import annotations

import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "make_venv.py"
MAKE, INSTALL_TORCH, INSTALL_REST = "venv", "torch==2.13.0", ".[dev]"


class Commands:
    """Stands in for what makes and fills a `.venv`; one of them may fail, as one that is interrupted does."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.run: list[str] = []
        self.failing: str | None = None
        self.interpreters: list[Path] = []
        monkeypatch.setattr(subprocess, "run", self)

    def __call__(self, command: list[str], **options: Any) -> None:
        asked = next(each for each in (MAKE, INSTALL_TORCH, INSTALL_REST) if each in command)
        if asked == self.failing:
            raise subprocess.CalledProcessError(1, command)
        if asked == MAKE:
            Path(command[-1]).mkdir()
            self.interpreters.append(Path(command[0]))
        self.run.append(asked)

    def since(self) -> list[str]:
        run, self.run = self.run, []
        return run


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> Commands:
    return Commands(monkeypatch)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder with what a `.venv` is made of."""
    for name in ("pyproject.toml", "constraints.txt"):
        (tmp_path / name).write_text(name, encoding="utf-8")
    return tmp_path


@pytest.fixture
def make(checkout: Path) -> Callable[[], None]:
    found = runpy.run_path(str(SCRIPT))
    found["make"].__globals__["ROOT"] = checkout
    return lambda: found["make"](checkout / ".venv")


def test_made_once(make: Callable[[], None], commands: Commands, checkout: Path) -> None:
    make()
    assert commands.since() == [MAKE, INSTALL_TORCH, INSTALL_REST]
    (checkout / "pyproject.toml").touch()
    make()
    assert commands.since() == []


@pytest.mark.parametrize("failing", [INSTALL_TORCH, INSTALL_REST])
def test_one_that_was_not_made_to_its_end_is_made_anew(
    failing: str, make: Callable[[], None], commands: Commands, checkout: Path
) -> None:
    commands.failing = failing
    with pytest.raises(subprocess.CalledProcessError):
        make()
    left = checkout / ".venv" / "half a package"
    left.touch()
    commands.failing = None
    commands.since()
    make()
    assert commands.since() == [MAKE, INSTALL_TORCH, INSTALL_REST]
    assert not left.exists()


def test_other_versions_are_installed_and_an_interrupted_change_is_not_trusted(
    make: Callable[[], None], commands: Commands, checkout: Path
) -> None:
    make()
    commands.since()
    (checkout / "constraints.txt").write_text("numpy==3", encoding="utf-8")
    make()
    assert commands.since() == [INSTALL_TORCH, INSTALL_REST]
    (checkout / "constraints.txt").write_text("numpy==4", encoding="utf-8")
    commands.failing = INSTALL_REST
    with pytest.raises(subprocess.CalledProcessError):
        make()
    commands.failing = None
    commands.since()
    make()
    assert commands.since() == [MAKE, INSTALL_TORCH, INSTALL_REST]


def test_one_that_was_copied_from_elsewhere_is_made_anew(
    make: Callable[[], None], commands: Commands, checkout: Path
) -> None:
    make()
    commands.since()
    ready = checkout / ".venv" / ".ready"
    ready.write_text(ready.read_text(encoding="utf-8").replace(str(checkout), "/elsewhere"), encoding="utf-8")
    make()
    assert commands.since() == [MAKE, INSTALL_TORCH, INSTALL_REST]


def test_it_is_not_made_with_the_python_of_one_that_is_about_to_be_removed(
    make: Callable[[], None], commands: Commands, monkeypatch: pytest.MonkeyPatch, checkout: Path
) -> None:
    monkeypatch.setattr(sys, "prefix", str(checkout / ".venv"))
    monkeypatch.setattr(sys, "executable", str(checkout / ".venv" / "bin" / "python3"))
    make()
    (used,) = commands.interpreters
    assert used.exists()
    assert checkout not in used.parents
