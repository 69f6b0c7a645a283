"""The death of a loader's process, a real one, and where the program stands when it is told."""

from __future__ import annotations

import subprocess
import sys

import pytest
from torch.utils.data._utils import signal_handling

from supervisor.training.loader_processes import tell_deaths_when_drawing

PROGRAM = """
import multiprocessing, os, signal, sys
import torch
from torch.utils.data import DataLoader
from supervisor.training.loader_errors import is_dead_loader
from supervisor.training.loader_processes import tell_deaths_when_drawing
if sys.argv[1] == "held back":
    assert tell_deaths_when_drawing()
batches = iter(DataLoader(torch.arange(1000), batch_size=1, num_workers=2))
next(batches)
where = "in the middle of a step"
try:
    victim = multiprocessing.active_children()[0]
    os.kill(victim.pid, signal.SIGKILL)
    os.waitid(os.P_PID, victim.pid, os.WEXITED | os.WNOWAIT)
    for _ in range(1000):
        os.getpid()
    where = "at the next batch"
    for _ in batches:
        pass
except Exception as error:
    print(where, is_dead_loader(error))
"""


@pytest.mark.parametrize(
    ("how", "where"), [("as torch does", "in the middle of a step"), ("held back", "at the next batch")]
)
def test_it_is_told_when_the_next_batch_is_drawn(how: str, where: str) -> None:
    command = [sys.executable, "-c", PROGRAM, how]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    assert done.stdout == f"{where} True\n"


def test_where_torch_has_no_such_switch_nothing_is_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(signal_handling, "_SIGCHLD_handler_set")
    assert not tell_deaths_when_drawing()
    assert not hasattr(signal_handling, "_SIGCHLD_handler_set")
