"""Keeps what workers print while the process that reads it is stopped (Ctrl-Z), so that no worker waits for that."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from types import FrameType
from typing import IO

from supervisor.process.shadowing import command

__all__ = ["keep_to", "output_kept"]

COMMAND = command("supervisor.process.output_keeper")
"""What it is started as."""

MOST_KEPT = 64_000_000
"""So many bytes are kept; what comes after them is read, so that nobody waits, and left out."""

LOOK_SECONDS = 0.1
END_SECONDS = 2.0
_BLOCK_BYTES = 1 << 16


@contextlib.contextmanager
def output_kept(terminal: int) -> Iterator[IO[bytes]]:
    """Another process reads a terminal as long as the block lasts, in which this process may be stopped.

    Args:
        terminal: what is read.

    Returns:
        A file without a name: after the block it stands at the beginning of what was read.

    Raises:
        OSError: there is no such process, or no such file.
    """
    with contextlib.ExitStack() as kept:
        file = kept.enter_context(tempfile.TemporaryFile())
        keeper = subprocess.Popen(
            COMMAND, stdin=terminal, stdout=file, stderr=subprocess.DEVNULL, process_group=0, cwd="/"
        )
        try:
            yield file
        finally:
            keeper.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                keeper.wait(END_SECONDS)
            keeper.kill()
            keeper.wait()
        file.seek(0)
        kept.pop_all()


def keep_to(source: int, target: int, most: int = MOST_KEPT) -> None:
    """Copy until SIGTERM, or until nobody is left who writes.

    Args:
        source: descriptor to read.
        target: descriptor to write to.
        most: how many bytes are written; how many were left out is said at the end.
    """
    ending: list[int] = []

    def end(number: int, frame: FrameType | None) -> None:
        ending.append(number)

    signal.signal(signal.SIGTERM, end)
    left_out = 0
    with contextlib.suppress(OSError):
        while not ending:
            if not select.select([source], [], [], LOOK_SECONDS)[0]:
                continue
            data = os.read(source, _BLOCK_BYTES)
            if not data:
                break
            whole, most = data[:most], max(0, most - len(data))
            left_out += len(data) - len(whole)
            os.write(target, whole)
    if left_out:
        with contextlib.suppress(OSError):
            os.write(target, f"\n({left_out} bytes of output left out: this was stopped for too long)\n".encode())


if __name__ == "__main__":
    keep_to(sys.stdin.fileno(), sys.stdout.fileno())
