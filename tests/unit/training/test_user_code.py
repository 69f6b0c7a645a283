"""Whose code a frame is: by its folders, not by how its name begins."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from torch import fx, nn

import supervisor
from supervisor.training.user_code import frames_outwards, is_users, user_frame

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
    assert "pytest" in frames[-1][0] or "runpy" in frames[-1][0] or frames[-1][0].endswith("__main__.py")
    assert list(frames_outwards(None)) == []
