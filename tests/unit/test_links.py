"""Every link from one page of the documentation to another leads somewhere, to its heading too."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [*sorted((ROOT / "docs").rglob("*.md")), ROOT / "README.md", ROOT / "CONTRIBUTING.md"]


def anchor(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def dead_links(page: Path) -> list[str]:
    text, dead = page.read_text(encoding="utf-8"), []
    for name, place in re.findall(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]+))?\)", text):
        target = page.parent / name if name else page
        if not target.exists():
            dead.append(name)
        elif place and place not in map(anchor, re.findall(r"^#+ (.*)$", target.read_text("utf-8"), re.MULTILINE)):
            dead.append(f"{name}#{place}")
    return dead


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_they_lead_somewhere(page: Path) -> None:
    assert dead_links(page) == []


def test_one_that_does_not_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A `key`: it\n\n[a](#a-key-it) [b](#b) [c](gone.md) [d](page.md#a-key-it) [e](https://x.org/#y)")
    assert dead_links(page) == ["#b", "gone.md"]


def test_every_page_is_in_the_index() -> None:
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    missing = [str(page.relative_to(ROOT / "docs")) for page in PAGES if page.is_relative_to(ROOT / "docs")]
    assert [name for name in missing if name != "README.md" and f"]({name})" not in index] == []
