"""The real command line in a process of its own, and what it leaves behind."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest import mock

import yaml

from supervisor.cli.app import main
from supervisor.process.worker_process import WorkerProcess

__all__ = [
    "COMMAND",
    "PATIENCE_SECONDS",
    "ask",
    "environment",
    "read_lines",
    "start",
    "strict_json",
    "supervise",
    "write_job",
    "write_trainer",
]

PATIENCE_SECONDS = 400.0
"""How long a test waits for what takes seconds: only what never comes takes longer, however busy the machine."""

COMMAND = [sys.executable, "-m", "supervisor"]


def environment() -> dict[str, str]:
    """The environment of a user with one thread and no colours."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "NO_COLOR": "1", "COLUMNS": "200"}


def supervise(*arguments: str, cwd: Path, timeout: float = PATIENCE_SECONDS) -> subprocess.CompletedProcess[str]:
    """Run `supervisor` with these arguments to its end."""
    return subprocess.run(
        [*COMMAND, *arguments],
        cwd=cwd,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        stdin=subprocess.DEVNULL,
    )


def ask(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """The same in this process, for a command that ends before it has started a worker: a start costs half a second."""
    out, err, before = io.StringIO(), io.StringIO(), Path.cwd()
    os.chdir(cwd)
    try:
        with (
            mock.patch.object(sys, "argv", ["supervisor", *arguments]),
            mock.patch.object(WorkerProcess, "__init__", side_effect=AssertionError("a worker would be started")),
            mock.patch.dict(os.environ, environment()),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            main()
        code = 0
    except SystemExit as ended:
        code = int(ended.code or 0)
    finally:
        os.chdir(before)
    return subprocess.CompletedProcess(list(arguments), code, out.getvalue(), err.getvalue())


def start(*arguments: str, cwd: Path) -> subprocess.Popen[str]:
    """Start `supervisor` with its output in a pipe."""
    return subprocess.Popen(
        [*COMMAND, *arguments],
        cwd=cwd,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        stdin=subprocess.DEVNULL,
    )


def strict_json(line: str) -> Any:
    """The value on a line; NaN and Infinity, which JSON does not have, are refused."""

    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is not JSON")

    return json.loads(line, parse_constant=refuse)


def read_lines(run_dir: Path, name: str = "rank0") -> list[dict[str, Any]]:
    """The lines of one event file, each parsed as strict JSON."""
    text = (run_dir / "events" / f"{name}.jsonl").read_text(encoding="utf-8")
    return [strict_json(line) for line in text.splitlines()]


def write_job(folder: Path, name: str = "job.yaml", **values: Any) -> Path:
    """A job file with these values."""
    path = folder / name
    path.write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")
    return path


TRAINER = '''
"""A trainer as a user writes one."""

import os
import signal
import sys
import time

import torch
from pydantic import BaseModel, ConfigDict
from torch import nn


def ask_the_parent(number):
    """As a scheduler or a terminal would: the parent alone. The step goes on once the parent has passed it on."""
    came, before = [], signal.getsignal(number)
    signal.signal(number, lambda *received: (came.append(number), before(*received)))
    os.kill(os.getppid(), number)
    while not came:
        time.sleep(0.001)
    signal.signal(number, before)


class Config(BaseModel):
    model_config = ConfigDict(extra="forbid")
    learning_rate: float = 0.01
    width: int = 8
    fault: str = "none"
    at: int = 5


class Tiny:
    def __init__(self, config, seed):
        self.config = config
        generator = torch.Generator().manual_seed(seed)
        x = torch.randn(64, 4, generator=generator)
        y = x.sum(1, keepdim=True)
        self.model = nn.Sequential(nn.Linear(4, config.width), nn.Tanh(), nn.Linear(config.width, 1))
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=config.learning_rate)
        self.data = [(x[i : i + 8], y[i : i + 8]) for i in range(0, 64, 8)]
        self.calls = 0
        if config.fault == "crash_in_init":
            raise RuntimeError("no such luck")

    @classmethod
    def from_config(cls, mapping, *, seed):
        return cls(Config.model_validate(mapping), seed)

    def loss(self, batch):
        x, y = batch
        self.calls += 1
        fault = self.config.fault
        if self.calls == self.config.at + 1:
            if fault == "os_exit":
                os._exit(9)
            if fault == "os_exit_0":
                os._exit(0)
            if fault == "sys_exit":
                sys.exit()
            if fault == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            if fault in ("sigterm", "sigint"):
                ask_the_parent(signal.SIGTERM if fault == "sigterm" else signal.SIGINT)
        if fault == "nan" and self.calls > self.config.at:
            x = x * float("nan")
        return (self.model(x) - y).square().mean()

    def evaluate(self):
        return {"square": float(self.calls)}
'''


def write_trainer(folder: Path, name: str = "mine") -> str:
    """A module with the trainer `Tiny` in the folder; gives what a job names it by."""
    (folder / f"{name}.py").write_text(TRAINER, encoding="utf-8")
    return f"{name}:Tiny"
