"""The commands about checkpoints: what they hand on, and how they end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from supervisor.cli.app import app
from supervisor.cli.checkpoint_commands import evaluate, export
from supervisor.process import checkpoint_commands

RUNNER = CliRunner()


@pytest.mark.parametrize(
    ("arguments", "given"),
    [
        (["evaluate", "run"], (Path("run"), None, {"as_json": False})),
        (["evaluate", "run", "--checkpoint", "last", "--json"], (Path("run"), "last", {"as_json": True})),
        (["export", "run", "-o", "m.pt"], (Path("run"), None, Path("m.pt"), {"force": False})),
        (
            ["export", "run", "--output", "m.pt", "--checkpoint", "best", "--force"],
            (Path("run"), "best", Path("m.pt"), {"force": True}),
        ),
    ],
)
def test_what_is_written_is_handed_on_and_the_code_is_passed_back(
    monkeypatch: pytest.MonkeyPatch, arguments: list[str], given: tuple[Any, ...]
) -> None:
    called: list[Any] = []

    def command(*arguments: Any, **options: Any) -> int:
        called.append((*arguments, options))
        return 2

    for name in ("evaluate_checkpoint", "export_checkpoint"):
        monkeypatch.setattr(checkpoint_commands, name, command)
    assert RUNNER.invoke(app, arguments).exit_code == 2
    assert called == [given]


@pytest.mark.parametrize("command", ["evaluate", "export"])
def test_the_help_says_which_checkpoint_is_taken_and_the_exit_codes(command: str) -> None:
    shown = " ".join(RUNNER.invoke(app, [command, "--help"], env={"COLUMNS": "200"}).output.split())
    assert "without it the best where there is one, else the newest good one" in shown
    assert "Exit codes: 0" in shown
    assert {"evaluate": evaluate, "export": export}[command].__doc__
