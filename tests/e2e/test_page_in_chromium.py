"""A page as a browser has it: see scripts/check_page.py for what is looked at."""

from __future__ import annotations

import os
import runpy
import shutil
from pathlib import Path

import pytest
from support.page_runs import HOSTILE, eventful

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
