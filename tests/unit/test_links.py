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


def unlisted(docs: Path) -> list[str]:
    """The pages that the index of their folder does not list, and the folders that the index of docs/ does not."""
    pages = [page for page in sorted(docs.rglob("*.md")) if page != docs / "README.md"]
    missing = []
    for page in pages:
        index = (
            docs / "README.md"
            if page.name == "README.md" or page.parent.name == "reference"
            else page.parent / "README.md"
        )
        if f"]({page.relative_to(index.parent)})" not in index.read_text(encoding="utf-8"):
            missing.append(str(page.relative_to(docs)))
    return missing


def test_every_page_is_in_the_index() -> None:
    assert unlisted(ROOT / "docs") == []


def test_a_page_that_is_in_no_index_is_found(tmp_path: Path) -> None:
    (tmp_path / "of").mkdir()
    (tmp_path / "README.md").write_text("[a](a.md) [of](of/README.md)")
    (tmp_path / "of" / "README.md").write_text("[b](b.md)")
    for name in ("a.md", "of/b.md"):
        (tmp_path / name).write_text("# Listed")
    assert unlisted(tmp_path) == []
    for name in ("c.md", "of/d.md"):
        (tmp_path / name).write_text("# Not listed")
    assert unlisted(tmp_path) == ["c.md", "of/d.md"]
