"""The live view in a real terminal: of a run that dies and goes on, and of one that is watched from outside."""

from __future__ import annotations

import os
import re
import shlex
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.command import COMMAND, environment, read_lines, write_job, write_trainer
from support.runs import running
from support.terminal import Terminal

TRAINER = '''
"""A trainer that talks, is given a NaN, dies once, and waits at two gates until somebody has looked."""

import os
import signal
import sys
import time
from pathlib import Path

from mine import Tiny


class Chatty(Tiny):
    def loss(self, batch):
        call, died = self.calls, Path("died").exists()
        print(f"stdout at call {call}") if call % 2 else print(f"stderr at call {call}", file=sys.stderr)
        for share in range(200):
            os.write(1, f"\\r{share:3}/200".encode())
        os.write(1, b"\\n")
        loss = super().loss(batch)
        if call == 8 and not died:
            return loss * float("nan")
        if call == 14 and not died:
            self.wait("first")
            Path("died").touch()
            os.write(2, b"\\x1b[2Jdying wo")
            os.write(2, b"rds")
            os.kill(os.getpid(), signal.SIGKILL)
        if call == 5 and died:
            self.wait("second")
        return loss

    def wait(self, name):
        Path(f"at_{name}").touch()
        while not Path(name).exists():
            time.sleep(0.001)
'''
LOOK = [*COMMAND, "watch", "run"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_trainer(tmp_path)
    (tmp_path / "chatty.py").write_text(TRAINER)
    policy = {"checkpoint": {"every_steps": 10}, "restart": {"backoff_initial_seconds": 1}}
    job = {"trainer": "chatty:Chatty", "steps": 30, "run_dir": "run", "log_every_steps": 1, "device": "cpu"}
    write_job(tmp_path, **job, policy={**policy, "snapshot": {"every_steps": 5}, "experiments": None})
    return tmp_path


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    with Terminal(110, 40) as made:
        yield made


def in_color() -> dict[str, str]:
    plain = environment()
    return {key: value for key, value in plain.items() if key not in ("NO_COLOR", "COLUMNS")} | {"TERM": "xterm"}


def test_it_survives_its_worker_and_what_is_printed_stands_above_it(folder: Path, terminal: Terminal) -> None:
    run = terminal.start([*COMMAND, "run", "job.yaml"], folder, in_color())
    terminal.until(lambda rows: any("● recovering" in row for row in rows) and (folder / "at_first").exists(), run)
    (folder / "first").touch()
    terminal.until(lambda rows: any("1 restart" in row for row in rows) and (folder / "at_second").exists(), run)
    terminal.resize(120, 45)
    # The loop's own lines before and after the restart are one history.
    terminal.until(
        lambda rows: any(row.startswith("incidents") and "1  rung 0 skip_batch  1 restart" in row for row in rows), run
    )
    (folder / "second").touch()
    assert terminal.ended(run) == 0
    rows = terminal.all_rows
    story = [row for row in rows if re.match(r"step \d+  nonfinite|worker|resumed|finished|dying", row)]
    assert story[0].startswith("step 8  nonfinite_loss")
    assert [row.split()[0] for row in story[1:]] == ["dying", "worker", "worker", "resumed", "finished"]
    first, second = (
        [int(row.rpartition(" ")[2]) for row in part if re.match(r"std(out|err) at call", row)]
        for part in (rows[: rows.index("dying words")], rows[rows.index("dying words") :])
    )
    assert first == [*range(15)]
    assert second == [*range(len(second))]
    assert len(second) >= 15
    assert sum(row == "199/200" for row in rows) == len(first) + len(second)
    assert sum("● finished  run" in row for row in rows) == 1
    assert not any("● running" in row or "● starting" in row for row in rows), "no view of before was left behind"
    assert terminal.cursor[1:] == (0, True)
    assert b"\x1b[2Jdying" not in terminal.written


def test_ctrl_c_once_saves_and_leaves_the_terminal_whole(folder: Path, terminal: Terminal) -> None:
    (folder / "died").touch()
    run = terminal.start([*COMMAND, "run", "job.yaml"], folder, in_color())
    terminal.until(lambda rows: (folder / "at_second").exists() and any("● running" in row for row in rows), run)
    terminal.press(b"\x03")
    terminal.until(lambda rows: any("● stopping after this step" in row for row in rows), run)
    (folder / "second").touch()
    assert terminal.ended(run) == 75
    rows = terminal.all_rows
    assert sum("● interrupted" in row for row in rows) == 1
    assert rows[rows.index(next(row for row in rows if row.startswith("Interrupted"))) - 1] == ""
    assert "Interrupted; to go on: supervisor resume run" in rows
    assert terminal.cursor[1:] == (0, True)
    # Asked once, not by the terminal and by the parent.
    assert [line["status"] for line in read_lines(folder / "run") if line["event"] == "run_finished"] == ["interrupted"]


LOUD = """
from chatty import Chatty
from mine import Tiny


class Loud(Tiny):
    wait = Chatty.wait

    def loss(self, batch):
        if self.calls == 5:
            self.wait("second")
        for number in range(200):
            print(f"{self.calls} {number:080}")
        return super().loss(batch)
"""


@pytest.mark.slow
def test_ctrl_z_stops_the_view_and_not_a_training_that_prints(folder: Path, terminal: Terminal) -> None:
    (folder / "loud.py").write_text(LOUD)
    os.mkfifo(folder / "come-back")
    command = shlex.join(
        [*COMMAND, "run", "job.yaml", "--set", "trainer=loud:Loud", "--set", "policy.experiments=null"]
    )
    # A shell that gives jobs process groups of their own, as one that somebody types into.
    shell = f"set -m; {command}; touch left; read _ < come-back; fg"
    run = terminal.start(["bash", "-c", shell], folder, in_color())
    terminal.until(lambda rows: (folder / "at_second").exists(), run)
    terminal.press(b"\x1a")
    terminal.until(lambda rows: (folder / "left").exists(), run)
    (folder / "second").touch()
    terminal.until(lambda rows: any(line["event"] == "run_finished" for line in read_lines(folder / "run")), run)
    (folder / "come-back").write_text("\n")
    assert terminal.ended(run) == 0
    told = [row.split() for row in terminal.all_rows if re.fullmatch(r"\d+ \d{80}", row)]
    assert [(int(call), int(number)) for call, number in told] == [(c, n) for c in range(30) for n in range(200)]


@pytest.mark.slow
def test_a_run_that_is_killed_while_it_is_watched_is_told_to_be_dead(folder: Path, terminal: Terminal) -> None:
    (folder / "died").touch()
    with running("run", "job.yaml", cwd=folder) as parent:
        while not (folder / "at_second").exists():
            assert parent.poll() is None
            os.sched_yield()
        watch = terminal.start(LOOK, folder, in_color())
        terminal.until(lambda rows: any("● running  run" in row for row in rows), watch)
        terminal.resize(60, 20)
        terminal.until(lambda rows: any("● running" in row for row in rows), watch)
        parent.send_signal(signal.SIGKILL)
        assert terminal.ended(watch) == 0
    rows = terminal.rows
    assert any("● dead" in row for row in rows)
    assert terminal.cursor[1:] == (0, True)
    again = terminal.start(LOOK, folder, in_color())
    assert terminal.ended(again) == 0


@pytest.mark.slow
def test_ctrl_c_ends_a_watch_and_not_the_run(folder: Path, terminal: Terminal) -> None:
    (folder / "died").touch()
    with running("run", "job.yaml", cwd=folder) as parent:
        while not (folder / "at_second").exists():
            assert parent.poll() is None
            os.sched_yield()
        watch = terminal.start(LOOK, folder, in_color())
        terminal.until(lambda rows: any("● running  run" in row for row in rows), watch)
        terminal.press(b"\x03")
        assert terminal.ended(watch) == 130
        assert terminal.cursor[2]
        (folder / "second").touch()
        assert parent.wait() == 0


@pytest.mark.slow
def test_a_terminal_that_is_closed_ends_the_run_after_a_checkpoint(folder: Path) -> None:
    (folder / "died").touch()
    with Terminal() as terminal:
        run = terminal.start([*COMMAND, "run", "job.yaml"], folder, in_color())
        terminal.until(lambda rows: (folder / "at_second").exists() and any("● running" in row for row in rows), run)
    (folder / "second").touch()
    assert run.wait() == 75
    assert [line["status"] for line in read_lines(folder / "run") if line["event"] == "run_finished"] == ["interrupted"]


@pytest.mark.slow
@pytest.mark.parametrize("columns", [20, 1])
def test_a_tiny_terminal_or_a_dumb_one_breaks_nothing(folder: Path, columns: int) -> None:
    (folder / "died").touch()
    (folder / "second").touch()
    with Terminal(columns, 3) as terminal:
        environment = in_color() | ({"TERM": "dumb"} if columns == 1 else {})
        run = terminal.start([*COMMAND, "run", "job.yaml"], folder, environment)
        assert terminal.ended(run) == 0
        assert (b"\x1b[" in terminal.written) == (columns == 20)
