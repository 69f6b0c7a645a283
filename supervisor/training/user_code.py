"""Telling the user's code from torch's, torchdata's and the supervisor's own."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import FrameType
from typing import TypeVar

import torch

__all__ = ["frames_outwards", "from_users_frame", "is_users", "user_frame"]

_Error = TypeVar("_Error", bound=BaseException)

_TORCH = Path(torch.__file__).resolve().parent
_NOT_THE_USERS = frozenset({_TORCH, _TORCH.with_name("torchdata"), Path(__file__).resolve().parent.parent})
_TYPED_IN = ("<stdin>", "<ipython-input")


@functools.lru_cache(maxsize=4096)
def is_users(file: str) -> bool:
    """Whether a source file is neither torch's nor the supervisor's, by its folders and not by how its name begins.

    Code without a file was made by a program (a dataclass, a traced graph), unless it was typed into a session.
    """
    if file.startswith("<"):
        return file.startswith(_TYPED_IN)
    return _NOT_THE_USERS.isdisjoint(Path(file).resolve().parents)


def user_frame(frames: Iterable[tuple[str, int | None]]) -> str | None:
    """`file:line` of the first frame that is the user's; None where none is.

    Args:
        frames: file and line of each, the innermost first.
    """
    return next((f"{file}:{line}" for file, line in frames if is_users(file)), None)


def frames_outwards(frame: FrameType | None) -> Iterator[tuple[str, int]]:
    """File and line of a frame that is running, then of its callers."""
    while frame is not None:
        yield frame.f_code.co_filename, frame.f_lineno
        frame = frame.f_back


def from_users_frame(error: _Error) -> _Error:
    """The exception, its traceback beginning at the outermost frame that is the user's, where one is."""
    trace = error.__traceback__
    while trace is not None and not is_users(trace.tb_frame.f_code.co_filename):
        trace = trace.tb_next
    return error if trace is None else error.with_traceback(trace)
