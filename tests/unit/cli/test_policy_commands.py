"""`supervisor policy`: what it prints, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from supervisor.cli.policy_commands import policy_app
from supervisor.errors import InputError
from supervisor.policy import load_policy, policy_json_schema

RUNNER = CliRunner()


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    path = tmp_path / "p.yaml"
    path.write_text("cooldown_steps: 7\nladder: [{action: skip_batch}, {action: halt}]\n", encoding="utf-8")
    return path


def test_a_good_one_is_told_with_its_ladder(policy: Path) -> None:
    done = RUNNER.invoke(policy_app, ["check", str(policy)])
    assert (done.exit_code, done.output) == (0, f"{policy}: good: skip_batch -> halt\n")


def test_a_mistake_is_raised_with_its_line(policy: Path) -> None:
    policy.write_text("cooldown: 7\n", encoding="utf-8")
    done = RUNNER.invoke(policy_app, ["check", str(policy)])
    assert isinstance(done.exception, InputError)
    assert str(done.exception).startswith(f"{policy}:1: cooldown: no such key")
    assert done.output == ""


def test_the_schema_is_json() -> None:
    assert json.loads(RUNNER.invoke(policy_app, ["schema"]).output) == policy_json_schema()


def test_what_is_shown_loads_back_to_the_same_policy(policy: Path, tmp_path: Path) -> None:
    shown = tmp_path / "shown.yaml"
    shown.write_text(RUNNER.invoke(policy_app, ["show", str(policy)]).output, encoding="utf-8")
    assert load_policy(str(shown)) == load_policy(str(policy))
    shown.write_text(RUNNER.invoke(policy_app, ["show"]).output, encoding="utf-8")
    assert load_policy(str(shown)) == load_policy(None)
