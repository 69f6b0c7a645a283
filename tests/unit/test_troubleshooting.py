"""The messages that the page of troubleshooting explains are messages that the program says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
ROWS = PAGE.partition("## By message")[2].partition("\n## ")[0].splitlines()
MESSAGES = [message for row in ROWS if row.startswith("| `") for message in re.findall(r"`([^`]+)`", row.split("|")[1])]
SAID = "".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "supervisor").rglob("*.py")))


def test_there_are_some() -> None:
    assert len(MESSAGES) > 15


@pytest.mark.parametrize("message", MESSAGES)
def test_it_is_said(message: str) -> None:
    """`…` stands for what differs from one time to the next."""
    for part in message.split("…"):
        assert part.strip() in SAID
