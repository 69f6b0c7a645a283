"""One supervisor a run directory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from supervisor.errors import InputError
from supervisor.process.run_lock import RunLock

HOLDER = """
import sys
from pathlib import Path
from supervisor.process.run_lock import RunLock
lock = RunLock(Path(sys.argv[1]), "run")
print("held", flush=True)
sys.stdin.read()
"""


def test_the_second_is_refused_until_the_first_lets_go(tmp_path: Path) -> None:
    with RunLock(tmp_path, "my run"):
        with pytest.raises(InputError, match="my run: another supervisor is running it"):
            RunLock(tmp_path, "my run")
        with pytest.raises(InputError):
            RunLock(tmp_path, "my run")
    RunLock(tmp_path, "my run").close()


def test_it_dies_with_its_owner(tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(InputError):
            RunLock(tmp_path, "run")
        holder.kill()
        holder.wait()
        RunLock(tmp_path, "run").close()


def test_a_process_that_was_started_meanwhile_does_not_hold_it(tmp_path: Path) -> None:
    """Else a worker that lives a moment longer than its killed parent would refuse the resume."""
    lock = RunLock(tmp_path, "run")
    with subprocess.Popen(["sleep", "60"], close_fds=False) as child:
        lock.close()
        RunLock(tmp_path, "run").close()
        child.kill()


def test_a_directory_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be written"):
        RunLock(tmp_path / "gone", "run")
