"""Leftovers among the checkpoints, also on a disk that does not let them go."""

from __future__ import annotations

from pathlib import Path

import pytest

from supervisor.checkpoints import leftovers
from supervisor.checkpoints.leftovers import empty_folder, tidy_up
from supervisor.checkpoints.store import CheckpointStore


@pytest.fixture
def stubborn(monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk on which nothing named `.unfinished` or `.replaced` can be removed or renamed."""

    def refuse(path: Path, ignore_errors: bool = False, **_: object) -> None:
        if not ignore_errors:
            raise PermissionError(1, "Operation not permitted", str(path))

    monkeypatch.setattr(leftovers.shutil, "rmtree", refuse)


def test_what_can_be_removed_is(tmp_path: Path) -> None:
    (tmp_path / ".unfinished-step-00000005" / "deep").mkdir(parents=True)
    (tmp_path / ".unfinished-a-file").touch()
    (tmp_path / ".replaced-step-00000006").mkdir()
    assert tidy_up(tmp_path) == []
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000006"]
    assert tidy_up(tmp_path / "missing") == []


def test_what_cannot_be_removed_is_told_and_stays(tmp_path: Path, stubborn: None) -> None:
    for name in (".unfinished-step-00000005", ".replaced-step-00000006", "step-00000006"):
        (tmp_path / name).mkdir()
    assert tidy_up(tmp_path) == [
        f"{tmp_path}/.replaced-step-00000006 could not be removed: Operation not permitted",
        f"{tmp_path}/.unfinished-step-00000005 could not be removed: Operation not permitted",
    ]


def test_a_replacement_that_cannot_get_its_name_back_is_told(tmp_path: Path) -> None:
    (tmp_path / ".replaced-step-00000006").mkdir()
    (tmp_path / "step-00000006").symlink_to("nowhere")
    (problem,) = tidy_up(tmp_path)
    assert problem.startswith(f"{tmp_path}/.replaced-step-00000006 could not be given its name step-00000006 again: ")


def test_a_folder_is_made_beside_what_cannot_be_removed(tmp_path: Path, stubborn: None) -> None:
    (tmp_path / "name").mkdir()
    (tmp_path / "name" / "held").touch()
    made = empty_folder(tmp_path / "name")
    assert made.name.startswith("name-")
    assert [*made.iterdir()] == []


def test_a_checkpoint_is_written_all_the_same(tmp_path: Path, stubborn: None) -> None:
    store = CheckpointStore(tmp_path / "checkpoints", "r")
    (store.directory / ".unfinished-step-00000005").mkdir(parents=True)
    path = store.write(5, 5, {"v": 1})
    assert store.load(path) == {"v": 1}
