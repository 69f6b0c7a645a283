"""What the pages of docs/ say that commands print is what they print.

Where this fails after a change that is meant: python scripts/run_examples.py --slow --update
"""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOUND = runpy.run_path(str(ROOT / "scripts" / "run_examples.py"), run_name="run_examples")
EXAMPLES = {page: FOUND["examples_in"](page.read_text(encoding="utf-8"), page.name) for page in FOUND["pages"]()}
QUICK = [page for page, examples in EXAMPLES.items() if any(not each.slow for each in examples)]
SLOW = [page for page, examples in EXAMPLES.items() if any(each.slow for each in examples)]
ALWAYS = ("your_own_trainer", "troubleshooting")
"""The page of a newcomer, and one whose commands are cheap: `make test` runs their examples, `make torture` all."""


@pytest.mark.parametrize(
    "page",
    [pytest.param(each, marks=() if each.stem in ALWAYS else pytest.mark.slow) for each in QUICK],
    ids=[each.stem for each in QUICK],
)
def test_the_quick_examples(page: Path) -> None:
    assert list(FOUND["wrong_in"](page)) == []


@pytest.mark.slow
@pytest.mark.parametrize("page", SLOW, ids=lambda page: page.stem)
def test_all_examples(page: Path) -> None:
    assert list(FOUND["wrong_in"](page, slow=True)) == []


def test_the_pages_that_are_programs_are_among_them() -> None:
    """So that nobody takes their marks away by accident."""
    assert {"your_own_trainer", "quickstart", "ladder", "troubleshooting", "ranks"} <= {page.stem for page in QUICK}
    assert "diagnosis" in {page.stem for page in SLOW}
