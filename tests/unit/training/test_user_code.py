"""Whose code a frame is: by its folders, not by how its name begins."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import fx, nn

import supervisor
from supervisor.training.user_code import frames_outwards, from_users_frame, is_users, user_frame

TORCH = Path(torch.__file__).resolve().parent
OURS = Path(supervisor.__file__).resolve().parent


@pytest.mark.parametrize(
    "file",
    [
        OURS.parent / "supervisor_jobs" / "losses.py",
        OURS.parent / "supervisor.py",
        TORCH.parent / "torchvision" / "models" / "resnet.py",
        TORCH.with_name("torch_of_mine") / "supervisor.py",
        Path(__file__),
        Path("losses.py"),
        "<stdin>",
        "<ipython-input-3-abc>",
    ],
    ids=str,
)
def test_the_users(file: Path | str) -> None:
    assert is_users(str(file))


@pytest.mark.parametrize(
    "file",
    [
        TORCH / "nn" / "modules" / "linear.py",
        TORCH.with_name("torchdata") / "stateful_dataloader" / "worker.py",
        TORCH / "nowhere" / ".." / "functional.py",
        OURS / "guard" / "guard.py",
        OURS / "__init__.py",
        "<string>",
        "<eval_with_key>.3",
        "<frozen importlib._bootstrap>",
        "<__array_function__ internals>",
    ],
    ids=str,
)
def test_not_the_users(file: Path | str) -> None:
    assert not is_users(str(file))


def test_a_link_to_torch_is_torch(tmp_path: Path) -> None:
    (tmp_path / "mine").symlink_to(TORCH)
    assert not is_users(str(tmp_path / "mine" / "functional.py"))


def test_the_first_frame_of_the_users_is_taken() -> None:
    inside = str(TORCH / "functional.py")
    assert user_frame([(inside, 1), ("a.py", 2), ("b.py", 3)]) == "a.py:2"
    assert user_frame([(inside, 1), ("<string>", 2)]) is None
    assert user_frame([]) is None


def test_a_traced_graph_is_nobodys_code() -> None:
    traced = fx.symbolic_trace(nn.Sequential(nn.Linear(2, 2)))
    assert not is_users(traced.forward.__code__.co_filename)


def test_frames_are_given_from_the_inside_out() -> None:
    def inner() -> list[tuple[str, int]]:
        return list(frames_outwards(sys._getframe()))

    frames = inner()
    assert [file for file, _ in frames[:2]] == [__file__, __file__]
    assert frames[0][1] < frames[1][1]
    assert len(frames) > 5, "down to where the program began"
    assert list(frames_outwards(None)) == []


SCRIPT = """
import supervisor_jobs.losses as losses
import torch
from supervisor.diagnosis.trace import Trace
from supervisor.update.attempt import raised_from

model = torch.nn.Linear(2, 2)
try:
    losses.raises()
except ValueError as error:
    print(raised_from(error, model).where)
trace = Trace(model)
with trace.watching():
    trace.loss(lambda batch: losses.overflows(model(batch)))(torch.ones(1, 2))
print(trace.loss_origin().where)
"""
LOSSES = """
def raises():
    raise ValueError("of the user")

def overflows(x):
    return (x + 100).exp().sum()
"""


def test_in_an_exception_and_in_a_trace_of_a_package_that_is_installed_beside_ours(tmp_path: Path) -> None:
    """In one folder, so that the path of the one begins with the path of the other."""
    shutil.copytree(OURS, tmp_path / "supervisor", ignore=shutil.ignore_patterns("__pycache__"))
    package = tmp_path / "supervisor_jobs"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "losses.py").write_text(LOSSES, encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-c", SCRIPT]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.stdout.splitlines() == [f"{package / 'losses.py'}:3", f"{package / 'losses.py'}:6"], done.stderr


def test_a_traceback_begins_where_the_users_code_does() -> None:
    """Not where a frame of torch's has called it."""

    class Mine(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            raise ValueError("no")

    with pytest.raises(ValueError, match="no") as raised:
        Mine()(torch.zeros(1))
    error = raised.value
    # Without this test's own frame, as where torch itself was called by the supervisor.
    assert error.__traceback__ is not None
    error = error.with_traceback(error.__traceback__.tb_next)
    assert not is_users(error.__traceback__.tb_frame.f_code.co_filename)
    trimmed = from_users_frame(error).__traceback__
    assert trimmed is not None
    assert trimmed.tb_frame.f_code.co_name == "forward"
    bare = ValueError("never raised")
    assert from_users_frame(bare) is bare
