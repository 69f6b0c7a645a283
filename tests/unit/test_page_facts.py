"""The tables on the pages of signals and actions say what the policy and the faults say."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


@pytest.fixture(scope="module")
def script() -> dict[str, Any]:
    before = list(sys.path)
    sys.path.insert(0, str(SCRIPTS))
    try:
        return runpy.run_path(str(SCRIPTS / "page_facts.py"))
    finally:
        sys.path[:] = before


def test_what_follows_a_signal_by_default(script: dict[str, Any]) -> None:
    facts = script["facts"]()
    assert "enters at [`reload_checkpoint`](../actions/reload_checkpoint.md)" in facts["signals/nonfinite_parameter.md"]
    assert "enters at the lowest rung" in facts["signals/nonfinite_loss.md"]
    assert "| logged only |" in facts["signals/sanitized_values.md"]
    assert "an [experiment](../experiments.md)" in facts["signals/odd_update.md"]
    assert "noted, nothing is done" in facts["signals/initial_scale.md"]


def test_whether_it_may_be_observed(script: dict[str, Any]) -> None:
    facts = script["facts"]()
    assert "it may be `observe`" in facts["signals/loss_spike.md"]
    assert "it may not be `observe`" in facts["signals/nonfinite_loss.md"]
    assert "`reactions: {" not in facts["signals/dead_units.md"]


def test_the_options_of_an_action_and_what_enters_there(script: dict[str, Any]) -> None:
    facts = script["facts"]()
    assert (
        "| `factor` | `0.5` | ≥ 1e-06, < 1 | What one cut multiplies the learning rate by. |"
        in facts["actions/lower_lr.md"]
    )
    assert "[`divergence`](../signals/divergence.md)" in facts["actions/reload_checkpoint.md"]
    assert "The lowest rung of the default ladder" in facts["actions/skip_batch.md"]
    assert facts["actions/halt.md"] == ""


def test_faults_are_named_where_they_bring_it_about(script: dict[str, Any]) -> None:
    facts = script["facts"]()
    assert "`nan_optimizer_state`" in facts["signals/nonfinite_optimizer_state.md"]
    assert "faults" not in facts["signals/not_learning.md"]


def test_a_page_gets_its_table_and_keeps_the_rest(script: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "signals").mkdir()
    page = tmp_path / "signals" / "nonfinite_loss.md"
    page.write_text("before\n<!-- facts: begin -->\nold\n<!-- facts: end -->\nafter\n")
    ((path, text),) = script["stale"](tmp_path)
    assert path == page
    assert text.startswith("before\n<!-- facts: begin -->\n|")
    assert text.endswith("|\n<!-- facts: end -->\nafter\n")
    page.write_text(text)
    assert list(script["stale"](tmp_path)) == []


def test_a_page_without_a_place_for_it_is_an_error(script: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="lacks the lines <!-- facts: begin -->"):
        script["with_facts"]("no marks", "| a |")
