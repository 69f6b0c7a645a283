"""Each signal and each action has its page, with what every one of them has to say; no page is of something else."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from supervisor.records import ActionName, SignalName

DOCS = Path(__file__).resolve().parents[2] / "docs"
FOLDERS = {"signals": (SignalName, "Why it matters"), "actions": (ActionName, "Why it helps")}


def names_in(folder: Path) -> set[str]:
    return {page.stem for page in folder.glob("*.md")} - {"README"}


@pytest.mark.parametrize("folder", FOLDERS)
def test_each_has_a_page_and_no_page_is_of_another_thing(folder: str) -> None:
    assert names_in(DOCS / folder) == {str(each) for each in FOLDERS[folder][0]}


@pytest.mark.parametrize(("folder", "name"), [(folder, str(each)) for folder in FOLDERS for each in FOLDERS[folder][0]])
def test_a_page_says_what_it_is_why_by_an_example_and_when_it_is_wrong(folder: str, name: str) -> None:
    text = (DOCS / folder / f"{name}.md").read_text(encoding="utf-8")
    assert text.startswith(f"# `{name}`\n")
    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == [FOLDERS[folder][1], "Example", "When it is wrong"]
    example = text.partition("## Example")[2].partition("## When it is wrong")[0]
    assert "<!-- output" in example, "an example shows what a command prints"
    assert name in example
