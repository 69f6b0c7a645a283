"""What an exception from the data is: a bad sample, a loader process that died, or data that cannot go on."""

from __future__ import annotations

import enum
import re
import traceback
from collections.abc import Iterator, Sized
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from torch.utils.data import IterableDataset
from torch.utils.data._utils import fetch
from torch.utils.data.dataloader import _BaseDataLoaderIter

from supervisor.errors import said_by, text_of, traceback_of
from supervisor.training.end_of_data import NotTheEnd
from supervisor.training.passed_on import source_of
from supervisor.training.user_code import is_users, user_frame

__all__ = [
    "DataFault",
    "LoaderError",
    "fault_of",
    "goes_on",
    "is_dead_loader",
    "loader_error",
    "why_empty",
    "why_ended",
]

LONGEST_MESSAGE = 500
"""How much of an exception's text stands in a message, in characters."""

_DEAD = re.compile(r"DataLoader worker \(pid(\(s\))? [\d, ]+\) (is killed by signal|exited unexpectedly)")
"""How torch says that a process of a loader is gone. Its handler of SIGCHLD raises that wherever the program stands."""

_WRAPPED = re.compile(r"^Caught (?P<type>\S+) in .+?\.\s+Original (?P<trace>Traceback .*)$", re.DOTALL)
"""What a loader's process, or its thread that pins memory, hands over of an exception: its type and its traceback."""

_FRAME = re.compile(r'^  File "(?P<file>.+)", line (?P<line>\d+), in (?P<function>\S+)', re.MULTILINE)

_FETCHING = fetch.__file__
"""Where torch asks a data set for rows."""


class DataFault(enum.Enum):
    """What an exception that came out of the data, or of their loader, is."""

    BAD_SAMPLE = "bad sample"
    """The data set raised for one batch, and the next one can be had."""
    DEAD_LOADER = "dead loader process"
    """A process of the loader was killed or has exited: no sample is at fault, and a restart begins them anew."""
    CANNOT_GO_ON = "cannot go on"
    """The iterator is at its end with it (a generator), or nobody knows whether it is."""


@dataclass(frozen=True, slots=True)
class LoaderError:
    """An exception from the data, as the user's own code raised it, in whichever process that was.

    Attributes:
        fault: what it is.
        type: class name of what the data raised.
        message: its class name and the first line of its text.
        where: `file:line` of the innermost frame in the user's code, None where there is none.
        traceback: the whole of it.
    """

    fault: DataFault
    type: str
    message: str
    where: str | None
    traceback: str


def loader_error(error: Exception, iterator: Iterator[Any] | None) -> LoaderError:
    """What an exception from `next(iterator)` is, and where it comes from."""
    raised = _as_raised(error)
    fault, wrapped = fault_of(error, iterator), _WRAPPED.match(_plain_text(raised))
    if wrapped is None:
        frames = [(frame.filename, frame.lineno) for frame in traceback.extract_tb(raised.__traceback__)]
        said, kind = said_by(raised).splitlines()[0], type(raised).__name__
    else:
        # The traceback of the other process is there as text alone.
        frames = [(found["file"], int(found["line"])) for found in _FRAME.finditer(wrapped["trace"])]
        kind = StopIteration.__name__ if wrapped["type"] == NotTheEnd.__name__ else wrapped["type"]
        said = _last_said(wrapped["trace"], kind)
    return LoaderError(fault, kind, said[:LONGEST_MESSAGE], user_frame(reversed(frames)), traceback_of(error))


def fault_of(error: BaseException, iterator: Iterator[Any] | None) -> DataFault:
    """What an exception is that came out of the data.

    Args:
        error: as it was caught.
        iterator: what was asked for the next batch; None where the iterator itself could not be made.
    """
    if is_dead_loader(error):
        return DataFault.DEAD_LOADER
    return DataFault.BAD_SAMPLE if iterator is not None and goes_on(iterator, error) else DataFault.CANNOT_GO_ON


def is_dead_loader(error: BaseException) -> bool:
    """Whether an exception says that a process of a loader is gone, wherever in the program it surfaced.

    That process may also be missed first by whoever opens what it has shared: an `OSError` or an `EOFError` out of
    `multiprocessing`, or its `RuntimeError` about what it received.
    """
    seen: set[int] = set()
    told: BaseException | None = error
    while told is not None and id(told) not in seen:
        seen.add(id(told))
        if isinstance(told, RuntimeError) and _DEAD.search(text_of(told)):
            return True
        lost = isinstance(told, (ConnectionError, EOFError, FileNotFoundError)) or (
            isinstance(told, RuntimeError) and "items of ancdata" in text_of(told)
        )
        if lost and _raised_while_receiving(told.__traceback__):
            return True
        told = told.__cause__ or told.__context__
    return False


def goes_on(iterator: Iterator[Any], error: BaseException) -> bool:
    """Whether the next batch can be had after an exception.

    It can where a loader of torch's has asked a data set of rows for some, and that raised. A generator has ended with
    what it raised, and so has a sampler; a process that could not begin (`worker_init_fn`) raises for ever; of other
    iterators nobody knows.
    """
    loader = source_of(iterator)
    rows = isinstance(loader, _BaseDataLoaderIter) and not isinstance(loader._dataset, IterableDataset)
    return rows and any(_is_fetch(file, function) for file, function in _functions(error))


def why_empty(data: object) -> str:
    """Why data give no batch at all, as `file:line: data: what: mend`, as far as that can be told."""
    rows = getattr(data, "dataset", None)
    mend = "give an iterable of at least one batch"
    count = len(rows) if isinstance(rows, Sized) else None
    if count is None:
        return f"data: no batches: {mend}"
    name = type(rows).__name__
    if count > 0:
        short = f"the data set {name} has {count} rows, fewer than a batch, and drop_last leaves them out"
        return f"data: no batches: {short}: make batches smaller, or leave out drop_last"
    code = getattr(getattr(type(rows), "__len__", None), "__code__", None)
    own = code is not None and is_users(code.co_filename)
    line = f"{code.co_filename}:{code.co_firstlineno}: " if code is not None and own else ""
    return f"{line}data: no batches: the data set {name} has no rows: look into where it takes them from"


def why_ended(batches: int) -> str:
    """Why data that gave so many batches give no more."""
    return (
        f"data: the iterator ended after {batches} batches and cannot begin again: "
        "give a list or a DataLoader, or fewer steps"
    )


def _functions(error: BaseException) -> Iterator[tuple[str, str]]:
    """File and name of the functions that an exception came through, in whichever process."""
    error = _as_raised(error)
    yield from ((frame.filename, frame.name) for frame in traceback.extract_tb(error.__traceback__))
    wrapped = _WRAPPED.match(_plain_text(error))
    if wrapped is not None:
        yield from ((found["file"], found["function"]) for found in _FRAME.finditer(wrapped["trace"]))


def _as_raised(error: BaseException) -> BaseException:
    """The exception as the user's code raised it."""
    return error.__cause__ or error if isinstance(error, NotTheEnd) else error


def _is_fetch(file: str, function: str) -> bool:
    return function == "fetch" and file == _FETCHING


def _plain_text(error: BaseException) -> str:
    # torch writes the text of a `KeyError` so that its `str` is the text itself; the argument is that of any class.
    return str(error.args[0]) if len(error.args) == 1 and isinstance(error.args[0], str) else text_of(error)


def _last_said(trace: str, kind: str) -> str:
    """The line of a traceback that names the exception, without the module of its class."""
    named = re.findall(rf"^(?:[\w.<>]+\.)?({re.escape(kind)}(?::.*)?)$", trace, re.MULTILINE)
    return named[-1] if named else kind


def _raised_while_receiving(trace: TracebackType | None) -> bool:
    """Whether what one process has sent to another was being opened: in `multiprocessing`, or torch's part of it."""
    frames = [frame.filename for frame in traceback.extract_tb(trace)]
    return any("/multiprocessing/" in file.replace("\\", "/") for file in frames[-4:])
