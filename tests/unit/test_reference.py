"""The pages of docs/reference/ say what the models say, now."""

from __future__ import annotations

import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import Field

from supervisor.config.section import Seconds, Section, Steps

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "scripts" / "make_reference.py"


@pytest.fixture(scope="module")
def script() -> dict[str, Any]:
    before = list(sys.path)
    try:
        return runpy.run_path(str(SCRIPT))
    finally:
        sys.path[:] = before


def test_no_page_is_stale() -> None:
    """Where this fails: python scripts/make_reference.py"""
    done = subprocess.run([sys.executable, str(SCRIPT), "--check"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_page_that_differs_is_missing_or_is_none_of_them_is_named(
    script: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert script["main"]([], tmp_path) == 0
    assert script["main"](["--check"], tmp_path) == 0
    (tmp_path / "job.md").write_text("older")
    (tmp_path / "cli.md").unlink()
    (tmp_path / "gone.md").write_text("of a model that is no more")
    capsys.readouterr()
    assert script["main"](["--check"], tmp_path) == 1
    said = capsys.readouterr().err.splitlines()
    assert said == [
        f"{tmp_path / name}: stale: run python scripts/make_reference.py" for name in ("job.md", "cli.md", "gone.md")
    ]


def test_the_tables_of_other_pages_are_looked_at_too(
    script: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, page = tmp_path / "reference", tmp_path / "actions" / "lower_lr.md"
    page.parent.mkdir()
    page.write_text("<!-- facts: begin -->\nolder\n<!-- facts: end -->\n")
    assert script["main"]([], folder) == 0
    assert "`factor`" in page.read_text()
    assert script["main"](["--check"], folder) == 0
    page.write_text(page.read_text().replace("0.5", "0.7"))
    capsys.readouterr()
    assert script["main"](["--check"], folder) == 1
    assert capsys.readouterr().err == f"{page}: stale: run python scripts/make_reference.py\n"


class Inner(Section):
    """What is inside."""

    share: float = Field(0.5, gt=0, le=1)
    """How much of it."""


class Outer(Section):
    """What is outside."""

    every_steps: Steps = 20
    """How often."""
    wait_seconds: Seconds
    """How long."""
    inner: Inner | None = Inner()
    """More of it."""


class Silent(Section):
    """One of its fields says nothing."""

    told: int = 1
    """This one does."""
    untold: int = 2


class Around(Section):
    """Holds one that says nothing."""

    silent: Silent = Silent()
    """See there."""


def lines(script: dict[str, Any], model: Any) -> list[str]:
    return "\n".join(script["Page"](model, "outer").lines()).splitlines()


def test_a_field_has_its_type_unit_default_bound_and_meaning(script: dict[str, Any]) -> None:
    found = lines(script, Outer)
    assert "| `every_steps` | whole number | steps | `20` | ≥ 1, ≤ 1 000 000 000 | How often. |" in found
    assert "| `wait_seconds` | number | s | required | > 0, ≤ 3.1536e+07 | How long. |" in found
    assert "| `inner` | [`inner`](#inner) or null |  | `{share: 0.5}` |  | More of it. |" in found
    assert found[found.index("## `inner`") + 2] == "What is inside."
    assert "| `share` | number | `0.5` | > 0, ≤ 1 | How much of it. |" in found


@pytest.mark.parametrize("model", [Silent, Around])
def test_a_field_that_says_nothing_is_named(script: dict[str, Any], model: type[Section]) -> None:
    with pytest.raises(script["Undocumented"], match=r"Silent\.untold: has no docstring: write one below the field"):
        lines(script, model)


def test_every_event_every_command_and_every_code_has_its_section(script: dict[str, Any]) -> None:
    pages = script["pages"]()
    for each in ("## `signal`", "## `run_finished`", "## `decision.evidence`", "- `nonfinite_loss`"):
        assert each in pages["events.md"]
    for each in (
        "## supervisor run",
        "## supervisor policy check",
        "| `--set` |",
        "| 3 | halted |",
        "| 75 | interrupted |",
    ):
        assert each in pages["cli.md"]
    order = [pages["policy.md"].index(f"## `ladder`: `{action}`") for action in ("skip_batch", "lower_lr", "halt")]
    assert order == sorted(order)


def test_nothing_of_it_needs_torch() -> None:
    script = f"import runpy, sys; runpy.run_path({str(SCRIPT)!r})['pages'](); assert 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
