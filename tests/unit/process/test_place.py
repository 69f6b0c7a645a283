"""The working directory that a run was started in is noted, and found again."""

from __future__ import annotations

from pathlib import Path

import pytest

from supervisor.errors import InputError
from supervisor.process.place import place_of, write_place
from supervisor.run_layout import RunLayout


@pytest.fixture
def layout(tmp_path: Path) -> RunLayout:
    (tmp_path / "run").mkdir()
    return RunLayout(tmp_path / "run")


def test_it_is_the_one_of_the_last_start(layout: RunLayout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("first", "with \u00fc"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        write_place(layout)
        assert place_of(layout, "run") == tmp_path / name


def test_one_that_is_noted_already_is_not_written_again(
    layout: RunLayout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_place(layout)
    before = layout.place.stat()
    write_place(layout)
    assert (layout.place.stat().st_ino, layout.place.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


@pytest.mark.parametrize("content", [None, "", "{", '{"working_directory": 3}', "[]"])
def test_where_none_is_noted_nothing_is_known(layout: RunLayout, content: str | None) -> None:
    if content is not None:
        layout.place.write_text(content)
    assert place_of(layout, "run") is None


def test_one_that_is_gone_is_told(layout: RunLayout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    write_place(layout)
    monkeypatch.chdir(tmp_path)
    gone.rmdir()
    with pytest.raises(InputError, match=r"^run: was started in .*/gone, which is not there: resume it from where"):
        place_of(layout, "run")
