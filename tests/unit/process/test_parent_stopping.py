"""What the parent does between its workers."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest
from support.command import write_job

from supervisor.errors import ExitCode
from supervisor.events.schema import ExitClassification
from supervisor.job import load_job
from supervisor.process import parent
from supervisor.process.exits import WorkerEnd
from supervisor.process.parent import Parent


class Worker:
    """Stands in for a worker process, and counts how often it was asked to stop."""

    def __init__(self, *arguments: Any, restarts: int) -> None:
        self.asked: list[int] = []

    def stop(self, number: int) -> None:
        self.asked.append(number)

    def wait(self) -> WorkerEnd:
        return WorkerEnd(ExitCode.INTERRUPTED, ExitClassification.INTERRUPTED, code=ExitCode.INTERRUPTED)


class StoppedAs(Parent):
    """Is sent a signal at the very moment at which it has a worker to pass it on to."""

    seen: Worker | None = None
    number = signal.SIGTERM

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name == "_worker" and isinstance(value, Worker):
            self.seen = value
            signal.raise_signal(self.number)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGHUP])
def test_one_request_to_stop_is_passed_on_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    """Twice would end the worker at once, without a checkpoint."""
    monkeypatch.setattr(parent, "WorkerProcess", Worker)
    write_job(tmp_path, trainer="mine:Tiny", steps=5)
    stopped = StoppedAs(load_job(str(tmp_path / "job.yaml"), run_dir=str(tmp_path / "run")))
    stopped.number = number
    assert stopped.run() is ExitCode.INTERRUPTED
    assert stopped.seen is not None
    assert stopped.seen.asked == [number]


def test_a_hangup_that_was_ignored_from_the_start_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parent, "WorkerProcess", Worker)
    write_job(tmp_path, trainer="mine:Tiny", steps=5)
    stopped = StoppedAs(load_job(str(tmp_path / "job.yaml"), run_dir=str(tmp_path / "run")))
    stopped.number = signal.SIGHUP
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        stopped.run()
    finally:
        signal.signal(signal.SIGHUP, before)
    assert stopped.seen is not None
    assert stopped.seen.asked == []
