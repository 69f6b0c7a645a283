"""The site that `make docs` builds: its navigation is that of the pages, and a broken link is an error."""

from __future__ import annotations

import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

DOCS = Path(__file__).resolve().parents[2] / "docs"


@pytest.fixture(scope="module")
def conf() -> dict[str, Any]:
    before = list(sys.path)
    try:
        return runpy.run_path(str(DOCS / "conf.py"))
    finally:
        sys.path[:] = before


def build(pages: Path, site: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "sphinx", "--builder", "html", "--fail-on-warning", "--keep-going", "--quiet"]
    return subprocess.run([*command, str(pages), str(site)], capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All pages, built as `make docs` does."""
    where = tmp_path_factory.mktemp("site")
    done = build(DOCS, where)
    assert (done.returncode, done.stderr) == (0, "")
    return where


def test_the_navigation_is_the_headings_and_links_of_an_index(conf: dict[str, Any]) -> None:
    first = "## First\n\n[a](a.md) [b](in/b.md#c) [c](c.md)\n\n"
    text = f"# All\n\n[not](not.md)\n\n{first}## Second\n\n[c](c.md) [d](d.md)\n\n## None\n"
    assert conf["table_of_contents"](text) == (
        "```{toctree}\n:hidden:\n:caption: First\n\na.md\nc.md\n```\n\n"
        "```{toctree}\n:hidden:\n:caption: Second\n\nd.md\n```"
    )


def test_an_index_without_headings_is_one_list(conf: dict[str, Any]) -> None:
    text = "# Signals\n\n| [a](a.md) | [up](../up.md) |\n| [b](b.md) |\n"
    assert conf["table_of_contents"](text) == "```{toctree}\n:hidden:\n\na.md\nb.md\n```"


def test_it_builds_without_a_warning_and_has_every_page(site: Path) -> None:
    pages = {str(page.relative_to(DOCS).with_suffix(".html")) for page in DOCS.rglob("*.md")}
    built = {str(page.relative_to(site)) for page in site.rglob("*.html")}
    assert pages - built == set()
    assert "README.html" in (site / "index.html").read_text(encoding="utf-8")


def test_nothing_of_it_comes_from_another_place(site: Path) -> None:
    """Scripts, styles, fonts and pictures are beside the pages, so that it opens offline."""
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        loaded = re.findall(r"<(?:script|img|iframe)[^>]*?src=\"([^\"]+)\"|<link[^>]*?href=\"([^\"]+)\"", text)
        assert [each for pair in loaded for each in pair if each.startswith(("http:", "https:", "//"))] == []


def test_a_search_needs_no_server(site: Path) -> None:
    """The index is a script, and no text is fetched."""
    assert (site / "searchindex.js").read_text(encoding="utf-8").startswith("Search.setIndex(")
    options = (site / "_static" / "documentation_options.js").read_text(encoding="utf-8")
    assert "SHOW_SEARCH_SUMMARY: false" in options


@pytest.fixture
def pages(tmp_path: Path) -> Path:
    """A small site: an index and a page."""
    folder = tmp_path / "docs"
    (folder / "_static").mkdir(parents=True)
    shutil.copy(DOCS / "_static" / "site.css", folder / "_static")
    here = (DOCS / "conf.py").read_text(encoding="utf-8")
    (folder / "conf.py").write_text(here.replace("HERE.parent", f"Path({str(DOCS.parent)!r})"), encoding="utf-8")
    (folder / "README.md").write_text("# All\n\n## Pages\n\n[a](a.md)\n", encoding="utf-8")
    (folder / "a.md").write_text("# A page\n\n## A heading\n\n[a](#a-heading)\n", encoding="utf-8")
    return folder


def test_a_site_whose_links_lead_somewhere_is_built(pages: Path, tmp_path: Path) -> None:
    done = build(pages, tmp_path / "site")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[gone](gone.md)", "gone.md"),
        ("[gone](a.md#gone)", "gone"),
        ("![picture](images/gone.png)", "gone.png"),
    ],
)
def test_a_link_that_leads_nowhere_is_an_error(text: str, said: str, pages: Path, tmp_path: Path) -> None:
    (pages / "a.md").write_text(f"# A page\n\n{text}\n", encoding="utf-8")
    done = build(pages, tmp_path / "site")
    assert done.returncode != 0
    assert said in done.stderr


def test_a_page_that_is_in_no_index_is_an_error(pages: Path, tmp_path: Path) -> None:
    (pages / "b.md").write_text("# Another page\n", encoding="utf-8")
    done = build(pages, tmp_path / "site")
    assert done.returncode != 0
    assert "b.md" in done.stderr
