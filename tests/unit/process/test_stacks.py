"""The stacks of a process that stands still, and of the processes of a real loader whose data set hangs."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from supervisor.process.stacks import STACK_SIGNAL, ask_for_stacks

LOADER = """
import faulthandler, signal, subprocess, sys
from pathlib import Path
from torch.utils.data import DataLoader

folder, number = Path(sys.argv[1]), int(sys.argv[2])
stacks = (folder / "stacks").open("a")
faulthandler.register(number, file=stacks, all_threads=True)
helper = subprocess.Popen(["sleep", "1000"])


class Rows:
    def __len__(self):
        return 8

    def __getitem__(self, index):
        return self.waits_for_a_mount(index)

    def waits_for_a_mount(self, index):
        (folder / f"asked-{index}").touch()
        while True:
            signal.pause()


def draws():
    for batch in DataLoader(Rows(), batch_size=4, num_workers=2):
        pass


draws()
"""


@pytest.fixture
def hanging(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process in a group of its own, whose loader's two processes hang, and a helper that knows of nothing."""
    process = subprocess.Popen([sys.executable, "-c", LOADER, str(tmp_path), str(int(STACK_SIGNAL))], process_group=0)
    try:
        while not all((tmp_path / f"asked-{index}").exists() for index in (0, 4)):
            assert not gone(process, 0.05)
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def gone(process: subprocess.Popen[bytes], seconds: float) -> bool:
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return False
    return True


def test_each_process_of_a_loader_says_where_it_hangs(hanging: subprocess.Popen[bytes], tmp_path: Path) -> None:
    path = tmp_path / "stacks"
    ask_for_stacks(hanging.pid, path, lambda seconds: gone(hanging, seconds))
    own, *others = path.read_text().split("\nProcess ")
    assert "in draws" in own
    loaders = [each for each in others if "in waits_for_a_mount" in each]
    assert len(loaders) == 2
    assert all("in draws" in each and ", state S" in each for each in loaders)
    helpers = [each for each in others if "(sleep 1000)" in each]
    assert len(helpers) == 1
    assert "File" not in helpers[0]
    # It would have died of the signal.
    assert Path(f"/proc/{int(helpers[0].split()[0])}/cmdline").read_bytes().startswith(b"sleep")


def test_one_that_does_not_answer_is_named_all_the_same(hanging: subprocess.Popen[bytes], tmp_path: Path) -> None:
    path = tmp_path / "stacks"
    loader = next(
        int(entry.name)
        for entry in Path("/proc").iterdir()
        if entry.name.isdigit() and int(entry.name) != hanging.pid and _is_loader(int(entry.name), hanging.pid)
    )
    os.kill(loader, signal.SIGSTOP)
    ask_for_stacks(hanging.pid, path, lambda seconds: gone(hanging, seconds))
    told = next(each for each in path.read_text().split("\nProcess ") if each.startswith(f"{loader} "))
    assert "state T (stopped)" in told
    assert "it did not answer" in told


def _is_loader(pid: int, group: int) -> bool:
    with contextlib.suppress(OSError):
        return os.getpgid(pid) == group and not Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"sleep")
    return False


def test_where_the_worker_is_gone_nothing_is_waited_for(tmp_path: Path) -> None:
    process = subprocess.Popen(["true"], process_group=0)
    process.wait()
    ask_for_stacks(process.pid, tmp_path / "stacks", lambda _: True)
    assert not (tmp_path / "stacks").exists()
