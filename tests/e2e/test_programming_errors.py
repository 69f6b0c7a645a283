"""What no restart and no ladder helps against is told once, with the line to mend, and leaves nothing behind."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from support.command import (
    PATIENCE_SECONDS,
    environment,
    read_lines,
    strict_json,
    supervise,
    write_job,
    write_trainer,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_job(tmp_path, trainer=write_trainer(tmp_path), steps=20, run_dir="run", device="cpu", cpu_threads=1)
    return tmp_path


def changed(folder: Path, right: str, wrong: str) -> int:
    """Write something wrong into the trainer; gives its line."""
    file = folder / "mine.py"
    source = file.read_text(encoding="utf-8")
    assert right in source
    file.write_text(source.replace(right, wrong), encoding="utf-8")
    first = wrong.splitlines()[0]
    return next(number for number, text in enumerate(file.read_text(encoding="utf-8").splitlines(), 1) if first in text)


def test_a_loss_that_is_none(folder: Path) -> None:
    changed(folder, "return (self.model(x) - y).square().mean()", "return {'loss': self.model(x).mean()}")
    lines = (folder / "mine.py").read_text(encoding="utf-8").splitlines()
    defined = next(number for number, text in enumerate(lines, 1) if "def loss(" in text)
    done = supervise("run", "job.yaml", cwd=folder)
    assert done.returncode == 2, done.stderr
    told = f"{folder / 'mine.py'}:{defined}: loss(batch) must return a tensor with one element, not dict"
    assert done.stderr.strip() == f"{told}: return the loss alone"
    assert not (folder / "run").exists()


@pytest.mark.slow
def test_shapes_that_do_not_fit(folder: Path) -> None:
    line = changed(folder, "return (self.model(x) - y)", "return (self.model(x[:, :3]) - y)")
    done = supervise("run", "job.yaml", cwd=folder)
    assert done.returncode == 2, done.stderr
    assert done.stderr.splitlines()[-1].startswith(f"{folder / 'mine.py'}:{line}: RuntimeError: mat1 and mat2 shapes")
    assert not (folder / "run").exists()


@pytest.mark.slow
def test_a_constructor_that_exits(folder: Path) -> None:
    line = changed(folder, "        self.config = config\n", "        sys.exit(0)\n")
    done = supervise("run", "job.yaml", cwd=folder)
    assert done.returncode == 2, done.stderr
    assert f"{folder / 'mine.py'}:{line}: SystemExit: 0" in done.stderr.splitlines()[-1]


@pytest.mark.slow
def test_a_constructor_that_asks_somebody_who_is_not_there(folder: Path) -> None:
    line = changed(folder, "        self.config = config\n", "        input('Do you trust this? [y/N]')\n")
    done = supervise("run", "job.yaml", cwd=folder)
    assert done.returncode == 2, done.stderr
    assert f"{folder / 'mine.py'}:{line}: EOFError: EOF when reading a line" in done.stderr.splitlines()[-1]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("        import os; os._exit(3)\n", "the process ended itself with exit code 3, without an exception, while"),
        ("        import ctypes; ctypes.string_at(0)\n", "mine.py:{line}: the process crashed here (SIGSEGV) while"),
    ],
    ids=["os._exit", "a crash"],
)
def test_a_constructor_that_ends_the_process(folder: Path, wrong: str, said: str) -> None:
    line = changed(folder, "        self.config = config\n", wrong)
    done = supervise("run", "job.yaml", cwd=folder)
    assert done.returncode == 2, done.stderr
    assert said.format(line=line) in done.stderr.splitlines()[-1]
    assert done.stdout.count("was started again") == 1
    assert not (folder / "run").exists()


@pytest.mark.slow
def test_a_module_that_ends_the_process(folder: Path) -> None:
    changed(folder, "class ", "__import__('os')._exit(0)\nclass ")
    done = supervise("run", "job.yaml", cwd=folder)
    assert done.returncode == 2, done.stderr
    assert "the process ended itself with exit code 0, without an exception" in done.stderr.splitlines()[-1]


STOPPING = """
import torch
from torch import nn
from torch.utils.data import DataLoader


def rows():
    batches = iter(DataLoader(torch.ones(12, 4), 4))
    while True:
        yield next(batches)


class Trainer:
    scheduler = None

    @classmethod
    def from_config(cls, config, *, seed):
        self = cls()
        self.model = nn.Linear(4, 1)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.001)
        self.data = rows()
        return self

    def loss(self, batch):
        return self.model(batch).square().mean()
"""


@pytest.mark.slow
def test_a_generator_that_its_data_end_in_is_told_with_its_line(folder: Path) -> None:
    (folder / "mine.py").write_text(STOPPING, encoding="utf-8")
    write_job(folder, trainer="mine:Trainer", steps=25, run_dir="run", device="cpu", cpu_threads=1)
    done = supervise("run", "job.yaml", cwd=folder)
    line = next(number for number, text in enumerate(STOPPING.splitlines(), 1) if "yield next" in text)
    assert done.returncode == 4, done.stderr
    assert f"RuntimeError: generator raised StopIteration at {folder / 'mine.py'}:{line}" in done.stderr


@pytest.mark.slow
def test_data_without_a_batch(folder: Path) -> None:
    changed(folder, "self.data = [", "self.data = [] and [")
    done = supervise("run", "job.yaml", cwd=folder)
    assert done.returncode == 2, done.stderr
    assert done.stderr.strip() == "data: no batches: give an iterable of at least one batch"
    assert not (folder / "run").exists()


@pytest.mark.parametrize(
    "name",
    ["random.py", pytest.param("torch.py", marks=pytest.mark.slow), pytest.param("logging.py", marks=pytest.mark.slow)],
)
def test_a_file_beside_the_job_that_stands_in_the_way(folder: Path, name: str) -> None:
    (folder / name).write_text("x = 1\n", encoding="utf-8")
    done = supervise("run", "job.yaml", cwd=folder)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith(f"{folder / name}: stands in the way of ")
    assert not (folder / "run").exists()


@pytest.mark.slow
def test_one_of_the_name_of_ours(folder: Path) -> None:
    """`python -m supervisor` would run that file; the installed command does not look into the working directory."""
    (folder / "supervisor.py").write_text("x = 1\n", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-P", "-m", "supervisor", "run", "job.yaml"],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith(f"{folder / 'supervisor.py'}: stands in the way of the supervisor's own package")


RAISING = """
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset


class Rows(Dataset):
    def __len__(self):
        return 40

    def __getitem__(self, index):
        if index == 13:
            raise OSError("torn record")
        return torch.full((4,), float(index % 5))


class Trainer:
    scheduler = None

    @classmethod
    def from_config(cls, config, *, seed):
        self = cls()
        self.model = nn.Linear(4, 1)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.001)
        self.data = DataLoader(Rows(), 4, num_workers=2, generator=torch.Generator().manual_seed(1))
        return self

    def loss(self, batch):
        return (self.model(batch) - batch.sum(1, keepdim=True)).square().mean()
"""


@pytest.mark.slow
def test_a_row_that_raises_in_a_process_of_the_loader_is_left_out_without_a_restart(folder: Path) -> None:
    (folder / "mine.py").write_text(RAISING, encoding="utf-8")
    write_job(folder, trainer="mine:Trainer", steps=25, run_dir="run", device="cpu", cpu_threads=1)
    done = supervise("run", "job.yaml", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert [line["event"] for line in read_lines(folder / "run", "supervisor")] == ["worker_started", "worker_exited"]
    (line,) = (folder / "run" / "quarantine.jsonl").read_text(encoding="utf-8").splitlines()
    assert strict_json(line)["index"] == 13
    told = supervise("explain", "run", "1", cwd=folder)
    assert told.returncode == 0, told.stderr
    assert "OSError: torn record" in told.stdout
