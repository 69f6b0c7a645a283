"""Which process runs a directory, and whether it is still there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from supervisor.events.owner_file import Owner, claim, read_owner

CLAIM = "import sys; from pathlib import Path; from supervisor.events.owner_file import claim; claim(Path(sys.argv[1]))"


def test_this_process_is_there(tmp_path: Path) -> None:
    lock = tmp_path / "run" / ".lock"
    claim(lock)
    owner = read_owner(lock)
    assert owner == Owner.this_process()
    assert owner.alive is True


def test_a_child_leaves_its_parent_there_and_takes_over_from_anyone_else(tmp_path: Path) -> None:
    lock = tmp_path / ".lock"
    claim(lock)
    unless_parents = CLAIM.replace("argv[1])", "argv[1]), unless_parents=True")
    subprocess.run([sys.executable, "-c", unless_parents, str(lock)], check=True)
    assert read_owner(lock) == Owner.this_process()
    lock.write_text(Owner.this_process().model_copy(update={"pid": 1}).model_dump_json())
    subprocess.run([sys.executable, "-c", unless_parents, str(lock)], check=True)
    found = read_owner(lock)
    assert found is not None
    assert found.pid not in (1, os.getpid())
    claim(lock)
    subprocess.run([sys.executable, "-c", CLAIM, str(lock)], check=True)
    assert read_owner(lock) != Owner.this_process(), "who runs the directory himself takes over from anyone"
    assert found.alive is False


@pytest.mark.parametrize(
    ("changed", "alive"),
    [
        ({"pid": 2**22}, False),
        ({"began": 1}, False),
        ({"host": "elsewhere"}, None),
        ({"boot": "another", "pid": 2**22}, None),
        ({"namespace": "pid:[1]", "pid": 2**22}, None),
    ],
    ids=["no such process", "the number is another's by now", "another machine", "another start", "a container"],
)
def test_one_that_is_gone_is_told_from_one_of_which_nothing_is_known(changed: dict[str, Any], alive: bool) -> None:
    assert Owner.this_process().model_copy(update=changed).alive is alive


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
def test_a_process_that_nobody_has_waited_for_is_gone() -> None:
    child = subprocess.Popen([sys.executable, "-c", "pass"], stdout=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.read()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert Owner.this_process().model_copy(update={"pid": child.pid, "began": None}).alive is False
    child.wait()


@pytest.mark.parametrize("content", ["", "{", "{}"])
def test_a_lock_that_does_not_say_tells_nothing(tmp_path: Path, content: str) -> None:
    lock = tmp_path / ".lock"
    assert read_owner(lock) is None
    lock.write_text(content)
    assert read_owner(lock) is None


def test_a_folder_that_cannot_be_written_leaves_nobody_on_record(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    claim(tmp_path / "file" / ".lock")
    assert read_owner(tmp_path / "file" / ".lock") is None
