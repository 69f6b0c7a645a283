"""A file beside the job that bears the name of a module which the worker needs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import supervisor
from supervisor.errors import InputError
from supervisor.process.shadowing import command, library_file, refuse_shadows, shadows


def names(folder: Path) -> list[str]:
    return [name for name, _ in shadows(folder, sys.modules)]


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("random.py", "the standard library module `random`"),
        ("logging/__init__.py", "the standard library module `logging`"),
        ("supervisor.py", "the supervisor's own package `supervisor`"),
        ("pydantic.py", "the installed module `pydantic`"),
    ],
)
def test_it_is_refused_with_its_name(tmp_path: Path, file: str, said: str) -> None:
    import random  # noqa: F401  (what is asked for is what was imported)

    path = tmp_path / file
    path.parent.mkdir(exist_ok=True)
    path.write_text("")
    with pytest.raises(InputError) as caught:
        refuse_shadows(tmp_path)
    assert str(caught.value).startswith(f"{path}: stands in the way of {said}, which the worker needs: rename it")


def test_files_of_other_names_and_of_modules_that_no_file_can_shadow_are_not(tmp_path: Path) -> None:
    for name in ("mine.py", "sys.py", "time.py", "os.py", "random.txt", "antigravity.py"):
        (tmp_path / name).write_text("")
    (tmp_path / "random").mkdir()
    assert names(tmp_path) == []
    refuse_shadows(tmp_path)


def test_a_copy_of_this_repository_is_none(tmp_path: Path) -> None:
    """A newcomer runs the first job from within it, with the package installed elsewhere."""
    (tmp_path / "supervisor" / "process").mkdir(parents=True)
    (tmp_path / "supervisor" / "__init__.py").touch()
    (tmp_path / "supervisor" / "process" / "shadowing.py").touch()
    assert names(tmp_path) == []
    assert names(Path(supervisor.__file__).parent.parent) == []


def test_a_module_of_ours_starts_whatever_lies_in_the_working_directory(tmp_path: Path) -> None:
    for name in ("random.py", "supervisor.py", "signal.py", "pydantic.py", "logging.py"):
        (tmp_path / name).write_text("raise RuntimeError('of the wrong folder')")
    started = [*command("supervisor.process.worker_entry")]
    done = subprocess.run(started, cwd=tmp_path, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert "wrong folder" not in done.stderr
    assert "JSONDecodeError" in done.stderr, "it has read its input, which is empty"


def test_a_library_module_that_came_from_the_folder_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert library_file(tmp_path) is None
    (tmp_path / "antigravity.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "antigravity", raising=False)
    import antigravity  # noqa: F401

    try:
        assert library_file(tmp_path) == tmp_path / "antigravity.py"
    finally:
        del sys.modules["antigravity"]
