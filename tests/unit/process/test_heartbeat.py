"""The worker's progress, as another process reads it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from supervisor.process.heartbeat import Heartbeat, Phase, Pulse


def test_new_is_all_zero(tmp_path: Path) -> None:
    assert Heartbeat(tmp_path / "deep" / "rank0", create=True).read() == Pulse(0, 0, 0.0, Phase.STARTING)


def test_each_beat_is_a_sign_of_life(tmp_path: Path) -> None:
    path = tmp_path / "rank0"
    reader = Heartbeat(path, create=True)
    writer = Heartbeat(path)
    writer.enter(Phase.TRAINING)
    assert reader.read() == Pulse(1, 0, 0.0, Phase.TRAINING)
    writer.beat(7, 0.25)
    assert reader.read() == Pulse(2, 7, 0.25, Phase.TRAINING)
    # The same step again, as after a reload, is one too.
    writer.beat(7, 0.25)
    assert reader.read().beats == 3
    writer.enter(Phase.FINISHING)
    assert reader.read() == Pulse(4, 7, 0.25, Phase.FINISHING)


def test_another_process_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "rank0"
    reader = Heartbeat(path, create=True)
    code = (
        "import os, sys; from pathlib import Path; from supervisor.process.heartbeat import Heartbeat;"
        "Heartbeat(Path(sys.argv[1])).beat(41, 1.5); os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", code, str(path)], check=True)
    assert reader.read() == Pulse(1, 41, 1.5, Phase.TRAINING)


def test_made_anew_for_the_next_worker(tmp_path: Path) -> None:
    path = tmp_path / "rank0"
    first = Heartbeat(path, create=True)
    first.beat(9, 1.0)
    first.enter(Phase.ENDED)
    first.close()
    assert Heartbeat(path, create=True).read() == Pulse(0, 0, 0.0, Phase.STARTING)


def test_there_has_to_be_one(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Heartbeat(tmp_path / "rank0")
