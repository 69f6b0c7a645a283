"""What is kept of a sink for the next process."""

from __future__ import annotations

from pathlib import Path

import pytest

from supervisor.sinks.place import FilePlace, Kept, read_kept, write_kept


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    kept = Kept({"rank0.jsonl": FilePlace("a", 120, 3)}, {"delivered": ["x"], "sizes": {"steps": 5}})
    write_kept(tmp_path / "sinks" / "csv.json", kept)
    assert read_kept(tmp_path / "sinks" / "csv.json") == kept


@pytest.mark.parametrize("text", ["", "{", "[]", '{"places": {"a": 3}, "memory": {}}', '{"places": {}}'])
def test_what_cannot_be_understood_is_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "csv.json").write_text(text)
    assert read_kept(tmp_path / "csv.json") == Kept()
    assert read_kept(tmp_path / "missing.json") == Kept()
