"""Tells the end of the data from a `StopIteration` that the user's code has raised on the way to a batch."""

from __future__ import annotations

import itertools
import traceback
from collections.abc import Iterator, Sized
from types import FrameType
from typing import Any

from torch.utils.data._utils import fetch

from supervisor.training.user_code import user_frame

__all__ = ["END", "NotTheEnd", "begun", "draw", "not_the_end", "why_short"]

END = object()
"""Stands for the batch after the last."""

_FINISHED = "_finished"
"""Where torchdata's loader notes any `StopIteration` as its end, which its state would tell for the whole epoch."""


class NotTheEnd(RuntimeError):
    """A `StopIteration`, its cause, that says nothing of an end: a `next` without a default, most often.

    It is no `StopIteration` itself, for a loop or a generator that it passes through would take it for their end.
    """


def begun(data: Any) -> Iterator[Any]:
    """An iterator over data. Those that have items by number alone end with `IndexError`, and with nothing else."""
    return iter(data) if hasattr(type(data), "__iter__") else _by_number(data)


def draw(iterator: Iterator[Any]) -> Any:
    """The next batch, `END` where there is none.

    Raises:
        NotTheEnd: the data have raised `StopIteration`, which is not how they end.
    """
    try:
        return next(iterator)
    except StopIteration as stopped:
        if _says_the_end(stopped):
            return END
        if getattr(iterator, _FINISHED, None) is True:
            setattr(iterator, _FINISHED, False)
        raise not_the_end(stopped) from stopped


def why_short(data: object, batches: int) -> str | None:
    """What to look for where an epoch has ended after fewer batches than the data say that they have; else None."""
    try:
        count = len(data) if isinstance(data, Sized) else None
    except TypeError:
        # A loader has the method, and the stream that it reads has none.
        count = None
    if count is None or batches >= count:
        return None
    return (
        f"an epoch has ended after {batches} batches, and len(data) is {count}: unless that is an estimate, look for "
        "a StopIteration in what draws or reads the rows (`next` without a default): it ends an epoch without a word"
    )


def not_the_end(stopped: StopIteration) -> NotTheEnd:
    """What to raise from a `StopIteration` that is not the end of the data."""
    frames = traceback.extract_tb(stopped.__traceback__)
    where = user_frame((frame.filename, frame.lineno) for frame in reversed(frames))
    at = f" at {where}" if where else ""
    return NotTheEnd(f"StopIteration{at}, raised by what reads the data and not by an iterator that is at its end")


def _by_number(data: Any) -> Iterator[Any]:
    for number in itertools.count():
        try:
            item = data[number]
        except IndexError:
            return
        yield item


def _says_the_end(stopped: StopIteration) -> bool:
    """Whether an iterator that is at its end has raised it, as far as the frames that it came through tell.

    A loader's data set of rows does not end by raising, nor does a function that a builtin iterator calls (`map`). What
    a `__next__` of the user's raises, or passes on, is its end, for that is how it says so.
    """
    below = [frame for frame, _ in traceback.walk_tb(stopped.__traceback__)][1:]
    if any(frame.f_code.co_name == "reraise" for frame in below):
        # Another process hands it over, which tells the end of a stream in another way.
        return False
    for place, frame in enumerate(below):
        if frame.f_code.co_name == "fetch" and frame.f_code.co_filename == fetch.__file__:
            if isinstance(frame.f_locals.get("self"), fetch._MapDatasetFetcher):
                return False
            below = below[place + 1 :]
            break
    return not below or _is_next(below[0])


def _is_next(frame: FrameType) -> bool:
    """Whether a function is the `__next__` of an object, under whatever name it was defined."""
    code = frame.f_code
    first = frame.f_locals.get(code.co_varnames[0]) if code.co_varnames else None
    return code.co_name == "__next__" or getattr(getattr(type(first), "__next__", None), "__code__", None) is code
