"""The standard streams, whatever has become of them: closed, replaced, of a narrow encoding, without a reader."""

from __future__ import annotations

import contextlib
import io
import os
import select
import sys
from pathlib import Path
from typing import Any, NoReturn

from supervisor.display import fitting, visible

__all__ = ["SteadyStream", "end", "leave_streams", "reader_has_left", "ready_streams", "tell"]


def ready_streams() -> None:
    """Make the standard streams of this process usable; called first thing in a process of the supervisor's own.

    A descriptor that was closed (`>&-`) is given to the null device: else the next file that is opened, the event log
    say, would get its number, and be written into by whatever prints. A character that an encoding lacks is written as
    an escape.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            # The lowest number that is free is this one.
            os.open(os.devnull, os.O_RDWR)
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode, encoding="utf-8"))  # noqa: SIM115  (for as long as it lives)
        stream = getattr(sys, name)
        if mode == "w" and isinstance(stream, io.TextIOWrapper):
            with contextlib.suppress(OSError, ValueError):
                stream.reconfigure(errors="backslashreplace")


def leave_streams() -> None:
    """Flush what there is before this process ends, so that its exit code is its own.

    The interpreter flushes `sys.stdout` at its end, and exits with 120 where that fails: for an object of a trainer's
    without a `flush`, a full disk, a reader that has gone.
    """
    for name in ("stdout", "stderr"):
        own = getattr(sys, f"__{name}__")
        with contextlib.suppress(Exception):
            getattr(sys, name).flush()
        setattr(sys, name, own)
        try:
            if own is not None:
                own.flush()
        except Exception:  # noqa: BLE001  (whatever it is, it would be raised again)
            _give_to_the_null_device(own)


def end(code: int) -> NoReturn:
    """End this process with a code, whatever threads and handlers a trainer has left in it."""
    leave_streams()
    os._exit(code)


def reader_has_left(stream: Any = None) -> bool:
    """Whether a stream, by default the standard output, is a pipe whose reader is gone (`| head`).

    Nothing has to be written to know it.
    """
    with contextlib.suppress(OSError, ValueError, AttributeError):
        watch = select.poll()
        watch.register((sys.stdout if stream is None else stream).fileno(), 0)
        return any(what & select.POLLERR for _, what in watch.poll(0))
    return False


def tell(text: str, stream_name: str = "stderr") -> None:
    """Write lines to a standard stream: safe for a terminal, and nothing is raised where that cannot be done.

    Args:
        text: without the last line feed.
        stream_name: `stderr` or `stdout`.
    """
    stream = SteadyStream(getattr(sys, stream_name, None), stream_name)
    stream.write(f"{visible(text)}\n")
    stream.flush()


class SteadyStream:
    """A text stream that never raises, in front of one that may.

    A trainer, a notebook or a framework may have put an object of its own in place of `sys.stdout`, with a `write` and
    little else, or one whose reader has gone. Where it cannot take a text, the process's own stream gets it, and where
    that one cannot either, the text is lost.

    Args:
        stream: what to write to.
        name: `stdout` or `stderr`: which of the process's own is second in line.
    """

    def __init__(self, stream: Any, name: str) -> None:
        self._reader_left = False
        self._streams = [each for each in dict.fromkeys((stream, getattr(sys, f"__{name}__"))) if each is not None]

    @property
    def encoding(self) -> str:
        """That of the stream, or of the process's own behind it, or UTF-8 where neither has one."""
        found = (getattr(stream, "encoding", None) for stream in self._streams)
        return next((encoding for encoding in found if isinstance(encoding, str)), "utf-8")

    @property
    def reader_left(self) -> bool:
        """Whether it is a pipe that nobody reads any more."""
        return self._reader_left or reader_has_left(self)

    def write(self, text: str) -> int:
        """Write, as far as that can be done."""
        for stream in self._streams:
            try:
                stream.write(fitting(text, self.encoding))
                break
            except BrokenPipeError:
                self._reader_left = True
                _give_to_the_null_device(stream)
                break
            except Exception:  # noqa: BLE001  (the object may be anybody's)
                continue
        return len(text)

    def flush(self) -> None:
        """Flush, where the stream can."""
        for stream in self._streams[:1]:
            with contextlib.suppress(Exception):
                try:
                    stream.flush()
                except BrokenPipeError:
                    self._reader_left = True
                    _give_to_the_null_device(stream)

    def isatty(self) -> bool:
        """Whether a person watches; no where the stream does not say."""
        with contextlib.suppress(Exception):
            return bool(self._streams[0].isatty())
        return False

    def fileno(self) -> int:
        """The descriptor.

        Raises:
            OSError: it has none.
        """
        try:
            return int(self._streams[0].fileno())
        except Exception as error:
            raise io.UnsupportedOperation("fileno") from error


def _give_to_the_null_device(stream: Any) -> None:
    """Nobody reads on: what is left in the buffer must not fail again as the interpreter ends."""
    with contextlib.suppress(Exception):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)
