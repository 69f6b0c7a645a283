"""A page as a browser has it: see scripts/check_page.py for what is looked at."""

from __future__ import annotations

import math
import os
import runpy
import shutil
from pathlib import Path

import pytest
from support.page_runs import HOSTILE, PageRun, eventful, step_event

from supervisor.page.building import build_page

ROOT = Path(__file__).resolve().parents[2]
CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
AXE = Path(os.environ.get("AXE_CORE", ROOT / "node_modules" / "axe-core" / "axe.min.js"))

pytestmark = pytest.mark.slow


@pytest.mark.skipif(not Path(CHROMIUM).is_file(), reason="there is no Chromium")
def test_a_hostile_run_beside_another_one(tmp_path: Path) -> None:
    pytest.importorskip("playwright")
    hostile = tmp_path / "<img src=x onerror=alert(9)> \"'"
    eventful(hostile, HOSTILE)
    eventful(tmp_path / "plain")
    check = runpy.run_path(str(ROOT / "scripts" / "check_page.py"))["main"]
    axe = ["--axe", str(AXE)] if AXE.is_file() else []
    for runs in ([hostile], [hostile, tmp_path / "plain"]):
        page = tmp_path / "page.html"
        page.write_text(build_page([str(run) for run in runs]), encoding="utf-8", errors="backslashreplace")
        assert check([str(page), "--chromium", CHROMIUM, *axe]) == 0


@pytest.mark.skipif(not Path(CHROMIUM).is_file(), reason="there is no Chromium")
def test_numbers_and_texts_of_any_size(tmp_path: Path) -> None:
    pytest.importorskip("playwright")
    losses = {
        "positive": [1e308, 5e-324, 1.0],
        "of_both_signs": [1e308, -1e308, 0.0],
        "never_finite": [math.nan, math.inf],
    }
    check = runpy.run_path(str(ROOT / "scripts" / "check_page.py"))["main"]
    for name, values in losses.items():
        run = PageRun(tmp_path / name)
        for step in range(12):
            run.worker(step_event(step, step, values[step % len(values)]))
        run.incident(1, 12, "x" * 1_000_000)
        page = tmp_path / "page.html"
        page.write_text(build_page([str(tmp_path / name)]), encoding="utf-8")
        assert check([str(page), "--chromium", CHROMIUM]) == 0
