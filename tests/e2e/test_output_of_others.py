"""A trainer that puts objects of its own in the place of the streams, and writes what no terminal should obey."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.command import PATIENCE_SECONDS, ask, environment, read_lines, supervise

HOSTILE = '''
import sys
from my_trainer import MyTrainer

class Tee:
    """A write, and nothing else."""
    def __init__(self, under):
        self.under = under
    def write(self, text):
        self.under.write(text)

class Hostile(MyTrainer):
    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.calls = 0
        sys.stdout, sys.stderr = Tee(sys.stdout), Tee(sys.stderr)
    def loss(self, batch):
        self.calls += 1
        if self.calls == 40:
            raise FileNotFoundError(2, "\\x1b[2J\\r\\x00 \\u202e no such file " + "x" * 2_000_000, "row\\udcff.png")
        return super().loss(batch)
    def evaluate(self):
        raise RuntimeError("\\udcff\\x1b[31m")
'''


@pytest.fixture
def job(tmp_path: Path) -> Path:
    ask("init", ".", cwd=tmp_path)
    (tmp_path / "hostile.py").write_text(HOSTILE)
    path = tmp_path / "job.yaml"
    text = path.read_text().replace("my_trainer:MyTrainer", "hostile:Hostile").replace("3000", "60")
    path.write_text(text.replace("log_every_steps: 100", "log_every_steps: 20"))
    return path


def run(job: Path, redirections: str = "", **more: str) -> subprocess.CompletedProcess[bytes]:
    command = f'exec "$0" -m supervisor run job.yaml {redirections}'
    env = {**environment(), **more}
    return subprocess.run(
        ["/bin/sh", "-c", command, sys.executable],
        cwd=job.parent,
        env=env,
        capture_output=True,
        timeout=PATIENCE_SECONDS,
        check=False,
        stdin=subprocess.DEVNULL,
    )


def test_it_is_trained_and_nothing_of_it_reaches_the_terminal(job: Path) -> None:
    done = run(job, PYTHONIOENCODING="ascii", LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0")
    shown = done.stdout.decode("ascii")
    assert (done.returncode, done.stderr) == (0, b"")
    assert shown.replace("\n", "").isprintable()
    (incident,) = [line for line in shown.splitlines() if line.startswith("step 39 ")]
    assert re.fullmatch(r"step 39  step_exception  the step raised FileNotFoundError: .+  -> tried again", incident)
    assert len(incident) <= 100 + len("...->") - 2
    assert "evaluation failed: RuntimeError: \\udcff\\x1b[31m" in shown
    assert max(len(line) for line in shown.splitlines()) < 600
    events = read_lines(job.parent / "runs" / "first")
    assert [line["event"] for line in events].count("run_finished") == 1
    assert max(path.stat().st_size for path in (job.parent / "runs" / "first").glob("**/*.json*")) < 200_000
    for command in ("status", "events", "explain"):
        asked = ask(command, "runs/first", cwd=job.parent)
        assert (asked.returncode, asked.stdout.replace("\n", "").isprintable()) == (0, True)


@pytest.mark.slow
@pytest.mark.parametrize("redirections", [">&-", "2>&-", "<&- >&- 2>&-", ">/dev/full", ">/dev/full 2>/dev/full"])
def test_it_is_trained_whatever_becomes_of_the_streams(job: Path, redirections: str) -> None:
    done = run(job, redirections, PYTHONUNBUFFERED="")
    assert done.returncode == 0, done.stderr
    run_dir = job.parent / "runs" / "first"
    events = read_lines(run_dir)
    assert [line["event"] for line in events].count("run_finished") == 1
    assert (run_dir / "events" / "supervisor.jsonl").read_text().count('"worker_started"') == 1


@pytest.mark.slow
def test_a_directory_that_is_not_utf_8_is_one_like_any_other(tmp_path: Path) -> None:
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/d\xff"))
    folder.mkdir()
    ask("init", ".", cwd=folder)
    done = supervise("run", "job.yaml", "--steps", "60", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert ask("status", "runs/first", cwd=folder).returncode == 0
