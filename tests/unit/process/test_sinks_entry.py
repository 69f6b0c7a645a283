"""The process of the sinks, started for real, with the pipes that a parent holds."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from support.runs import alive, until
from support.written_run import WrittenRun

from supervisor.job import Sinks
from supervisor.process import sinks_entry
from supervisor.process.shadowing import command
from supervisor.process.sinks_spec import SinksSpec

PATIENCE_SECONDS = 120


@contextmanager
def started(run: WrittenRun, **sinks: object) -> Iterator[subprocess.Popen[bytes]]:
    chosen = Sinks.model_validate({"flush_seconds": PATIENCE_SECONDS, **sinks})
    since = datetime(2026, 1, 1, tzinfo=UTC)
    spec = SinksSpec(sinks=chosen, url=None, run_dir=run.layout.root, since=since, run_id="abc123")
    with subprocess.Popen(
        command(sinks_entry.__name__), stdin=subprocess.PIPE, stdout=subprocess.PIPE, process_group=0
    ) as process:
        try:
            assert process.stdin is not None
            process.stdin.write(spec.to_line())
            process.stdin.flush()
            yield process
        finally:
            process.kill()


def rows(run: WrittenRun) -> int:
    path = run.layout.sinks / "csv" / "steps.csv"
    return path.read_text().count("\n") if path.exists() else 0


def test_it_feeds_until_it_is_told_to_end_whatever_signal_comes(tmp_path: Path) -> None:
    run = WrittenRun(tmp_path)
    run.start()
    run.steps(0)
    with started(run, csv=None) as process:
        until(lambda: rows(run) == 2, seconds=PATIENCE_SECONDS)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
            process.send_signal(number)
        run.steps(1, 2)
        until(lambda: rows(run) == 4, seconds=PATIENCE_SECONDS)
        run.steps(3)
        assert process.stdin is not None
        process.stdin.write(b"end\n")
        process.stdin.flush()
        assert process.wait(PATIENCE_SECONDS) == 0
        assert process.stdout is not None
        assert process.stdout.read() == b""
    assert rows(run) == 5


def test_it_says_what_there_is_to_say_of_its_sinks(tmp_path: Path) -> None:
    run = WrittenRun(tmp_path)
    run.start()
    (run.layout.sinks).mkdir()
    (run.layout.sinks / "csv").write_text("in the way")
    with started(run, csv=None) as process:
        assert process.stdout is not None
        word = json.loads(process.stdout.readline())
    assert (word["kind"], word["sink"]) == ("failed", "csv")
    assert "File exists" in word["text"]


def test_it_ends_with_its_parent(tmp_path: Path) -> None:
    run = WrittenRun(tmp_path)
    run.start()
    with started(run, csv=None) as process:
        until(lambda: rows(run) == 1, seconds=PATIENCE_SECONDS)
        assert process.stdin is not None
        process.stdin.close()
        process.stdin = None
        assert process.wait(PATIENCE_SECONDS) == -signal.SIGKILL
    assert not alive(process.pid)


def test_it_never_imports_torch(tmp_path: Path) -> None:
    """Not with every sink there is: what is loaded into it is on its map."""
    run = WrittenRun(tmp_path)
    run.start()
    run.steps(0)
    names = ("tensorboard", "prometheus", "opentelemetry", "csv", "parquet")
    with started(run, **{name: {"port": 0} if name == "prometheus" else None for name in names}) as process:
        until(lambda: all(run.layout.sink_place(name).exists() for name in names), seconds=PATIENCE_SECONDS)
        loaded = Path(f"/proc/{process.pid}/maps").read_text()
        nice = os.getpriority(os.PRIO_PROCESS, process.pid)
        first_to_go = Path(f"/proc/{process.pid}/oom_score_adj").read_text()
    assert "arrow" in loaded
    assert "libtorch" not in loaded
    assert nice > os.getpriority(os.PRIO_PROCESS, 0) or nice == 19
    assert first_to_go == "1000\n"
