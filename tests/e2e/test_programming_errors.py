"""What no restart and no ladder helps against is told once, with the line to mend, and leaves nothing behind."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from support.command import PATIENCE_SECONDS, environment, supervise, write_job, write_trainer


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
