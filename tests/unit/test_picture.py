"""The picture of a run, as its live view showed it at the end."""

from __future__ import annotations

import re
import runpy
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from supervisor.events import schema
from supervisor.events.writer import EventLog
from supervisor.records import ActionName, SignalName
from supervisor.run_layout import RunLayout
from supervisor.testing.clock import FakeClock

ROOT = Path(__file__).resolve().parents[2]
FOUND = runpy.run_path(str(ROOT / "scripts" / "picture.py"), run_name="picture")
COMMITTED = ROOT / "docs" / "images" / "recovery.svg"


def shown_in(svg: str) -> list[str]:
    """The rows of a picture."""
    return [unescape(text).replace("\xa0", " ") for text in re.findall(r"<text [^>]*>(.*?)</text>", svg, re.DOTALL)]


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    layout = RunLayout(tmp_path / "run")
    summary = schema.RunSummary(status=schema.RunStatus.FINISHED, steps=50, applied_steps=49, incidents=1)
    at: dict[str, Any] = {"step": 7, "update": 7}
    skip: dict[str, Any] = {**at, "incident": 1, "action": ActionName.SKIP_BATCH}
    with EventLog(layout.rank_events, "r", 0, FakeClock()) as log:
        log.emit(schema.RunStartedEvent(steps=50, trainer="mine:<b>Tiny</b>"))
        log.emit(schema.SignalEvent(**at, signal=SignalName.NONFINITE_LOSS))
        log.emit(schema.IncidentOpenedEvent(**at, incident=1))
        log.emit(schema.DecisionEvent(**skip, rung=0, attempt=1, reason="because"))
        log.emit(schema.ActionAppliedEvent(**skip, seconds=0.1))
        log.emit(schema.RunFinishedEvent(step=50, update=49, status=schema.RunStatus.FINISHED, summary=summary))
    return layout.root


def test_the_lines_and_the_view_of_a_run_are_in_it(run_dir: Path, tmp_path: Path) -> None:
    picture = tmp_path / "images" / "run.svg"
    FOUND["main"]([str(run_dir), "-o", str(picture), "--name", "runs/mine", "--command", "supervisor run job.yaml"])
    text = "\n".join(shown_in(picture.read_text()))
    for part in ("supervisor run job.yaml", "nonfinite_loss", "→ skipped", "● finished", "runs/mine", "50/50  100%"):
        assert part in text
    assert "mine:<b>Tiny</b>" in text
    assert "<b>" not in picture.read_text()


@pytest.mark.parametrize("which", ["drawn now", "committed"])
def test_it_loads_nothing_from_elsewhere(run_dir: Path, tmp_path: Path, which: str) -> None:
    picture = COMMITTED
    if which == "drawn now":
        picture = tmp_path / "run.svg"
        FOUND["main"]([str(run_dir), "-o", str(picture)])
    svg = picture.read_text(encoding="utf-8")
    assert "url(" not in svg.replace("url(#", "")
    assert "@font-face" not in svg
    assert "href" not in svg
    assert "<script" not in svg


def test_the_committed_one_is_of_a_real_recovery() -> None:
    text = "\n".join(shown_in(COMMITTED.read_text(encoding="utf-8")))
    assert "● finished" in text
    assert "→ back to step" in text
    assert re.search(r"reload_checkpoint 1", text)
