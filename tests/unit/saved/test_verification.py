"""What lies in a folder of checkpoints, and whether it is as it was written; no torch."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.whole_checkpoints import write_checkpoint

from supervisor.errors import CheckpointError
from supervisor.saved.manifest import GoodMark, sha256_of
from supervisor.saved.verification import (
    GOOD_FILE,
    MANIFEST_FILE,
    STATE_FILE,
    committed,
    is_marked,
    names_of,
    newest_verified,
    verify,
)


def test_the_newest_comes_first_and_one_that_cannot_be_read_before_all(tmp_path: Path) -> None:
    for step in (10, 30, 20):
        write_checkpoint(tmp_path, step)
    (tmp_path / "step-00000005").mkdir()
    (tmp_path / ".unfinished-step-00000040").mkdir()
    assert [info.step for info in committed(tmp_path)] == [5, 30, 20, 10]
    assert committed(tmp_path / "nowhere") == []


def test_the_newest_that_is_whole_is_found_behind_torn_ones(tmp_path: Path) -> None:
    assert newest_verified(tmp_path) is None
    for step in (10, 20, 30):
        write_checkpoint(tmp_path, step)
    (tmp_path / "step-00000030" / STATE_FILE).write_bytes(b"a state")
    (tmp_path / "step-00000020" / MANIFEST_FILE).unlink()
    found = newest_verified(tmp_path)
    assert found is not None
    assert found.step == 10


def test_what_was_altered_is_said(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path, 10)
    assert verify(folder).step == 10
    state = folder / STATE_FILE
    state.write_bytes(state.read_bytes()[::-1])
    with pytest.raises(CheckpointError, match="SHA-256 differs"):
        verify(folder)


def test_a_mark_counts_for_its_own_manifest_alone(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path, 10)
    assert not is_marked(folder)
    mark = GoodMark(manifest_sha256=sha256_of(folder / MANIFEST_FILE).sha256)
    (folder / GOOD_FILE).write_text(mark.model_dump_json(by_alias=True))
    assert is_marked(folder)
    with (folder / MANIFEST_FILE).open("a") as manifest:
        manifest.write("\n")
    assert not is_marked(folder)


def test_its_names() -> None:
    assert names_of(200, 251) == ("step-00000200", "step-00000200-update-00000251")
