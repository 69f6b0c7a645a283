"""The place of a benchmark's table in a page."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.pages import Marks, machine

MARKS = Marks.of("mine")


def test_a_table_takes_the_place_of_what_stands_between_its_marks(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{MARKS.begin}\nold\n{MARKS.end}\nafter\n", encoding="utf-8")
    MARKS.check(page)
    MARKS.put(page, "| new |\n\n")
    MARKS.put(page, "| newer |")
    assert page.read_text(encoding="utf-8") == ("before\n<!-- mine: begin -->\n| newer |\n<!-- mine: end -->\nafter\n")


@pytest.mark.parametrize("text", ["no marks", "<!-- mine: begin -->\n", "<!-- mine: end -->\n<!-- mine: begin -->\n"])
def test_a_page_without_them_is_told_and_stays(text: str, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(text, encoding="utf-8")
    with pytest.raises(SystemExit, match="lacks the lines <!-- mine: begin --> and <!-- mine: end -->"):
        MARKS.check(page)
    with pytest.raises(SystemExit, match="lacks"):
        MARKS.put(page, "| new |")
    assert page.read_text(encoding="utf-8") == text


def test_a_page_that_is_not_there_is_told_and_none_is_no_page(tmp_path: Path) -> None:
    MARKS.check(None)
    with pytest.raises(SystemExit, match=r"--write .*none\.md: No such file"):
        MARKS.check(tmp_path / "none.md")


def test_the_machine_has_a_name() -> None:
    assert machine().strip()
