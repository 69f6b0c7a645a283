"""The site that `make docs` builds of these pages, with Sphinx, MyST and furo.

The pages are plain Markdown and read on their own. What the site adds is told here: the navigation, taken from the
headings and links of each README.md, so that a page is listed in one place alone.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from supervisor.version import __version__ as release  # noqa: E402

project = "supervisor"
version = release
extensions = ["myst_parser"]
root_doc = "README"
exclude_patterns = ["images/*", "_static/*"]
nitpicky = True
# Blocks without a language are commands and what they print.
highlight_language = "none"

# Headings are linked by the anchors that GitHub gives them.
myst_heading_anchors = 4

html_theme = "furo"
html_title = f"supervisor {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_copyright = False
# The texts beside the results of a search are fetched, which a page opened from disk may not do.
html_show_search_summary = False
html_theme_options = {"navigation_with_keys": True}

LINK = re.compile(r"\]\((?!https?:)(?P<page>[\w/]+\.md)\)")


def table_of_contents(text: str) -> str:
    """The `toctree` of a README.md: one for each of its headings, with the pages that are linked below it.

    Where it has no headings it is one, without a caption.
    """
    listed: set[str] = set()
    found = []
    before, *parts = re.split(r"^## ", text, flags=re.MULTILINE)
    for part in parts or [f"\n{before}"]:
        caption, _, body = part.partition("\n")
        pages = [page for page in dict.fromkeys(LINK.findall(body)) if page not in listed]
        listed.update(pages)
        if pages:
            options = [":hidden:", f":caption: {caption}"] if caption else [":hidden:"]
            found.append("\n".join(["```{toctree}", *options, "", *pages, "```"]))
    return "\n\n".join(found)


def add_table_of_contents(_app: Any, name: str, source: list[str]) -> None:
    """Add the navigation to what is read of a README.md."""
    if name.rpartition("/")[2] == "README":
        source[0] += f"\n\n{table_of_contents(source[0])}\n"


def lead_to_the_root(app: Any, error: Exception | None) -> None:
    """Write an index.html, which is what a folder is opened by."""
    if error is None:
        text = f'<!doctype html><title>{project}</title><meta http-equiv="refresh" content="0; url={root_doc}.html">\n'
        Path(app.outdir, "index.html").write_text(text, encoding="utf-8")


def setup(app: Any) -> dict[str, bool]:
    """Called by Sphinx."""
    app.connect("source-read", add_table_of_contents)
    app.connect("build-finished", lead_to_the_root)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
