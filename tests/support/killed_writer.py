"""Checkpoint writers that are killed: `python killed_writer.py DIRECTORY OPERATION`.

Makes one store after another in `DIRECTORY/000`, `DIRECTORY/001`, ..., each with a good checkpoint of step 10 and one
of step 20, and lets a process of its own carry out the operation on it and be killed: first at each place where it
opens, makes, renames or removes anything, then at moments in between. Prints how many were killed and how long the
operation takes.
"""

from __future__ import annotations

import itertools
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from supervisor.checkpoints import CheckpointStore

MOMENTS = 40
TOUCHES = ("open", "os.", "shutil.", "tempfile.")


def tree(step: int, version: int = 0) -> dict[str, Any]:
    """A state that says where it comes from."""
    generator = torch.Generator().manual_seed(step * 1000 + version)
    return {"step": step, "version": version, "weights": torch.randn(200, 500, generator=generator)}


def prepared(directory: Path) -> CheckpointStore:
    """A store with a good checkpoint of step 10 and one on probation of step 20."""
    store = CheckpointStore(directory, "run")
    store.write(10, 10, tree(10), good=True)
    store.write(20, 20, tree(20))
    return store


OPERATIONS: dict[str, Callable[[CheckpointStore], object]] = {
    "write": lambda store: store.write(30, 30, tree(30), good=True),
    "replace": lambda store: store.write(20, 25, tree(20, 1), good=True),
    "promote": lambda store: store.promote(store.directory / "step-00000020"),
    "retire": lambda store: store.retire(store.directory / "step-00000020"),
}


def carried_out(operation: str, store: CheckpointStore, arm: Callable[[], None]) -> bool:
    """Carry the operation out in a process of its own; False when it was killed."""
    child = os.fork()
    if child == 0:
        arm()
        OPERATIONS[operation](store)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return False
    assert os.WEXITSTATUS(status) == 0, status
    return True


def at_place(number: int) -> Callable[[], None]:
    def arm() -> None:
        places = itertools.count()

        def hook(event: str, args: object) -> None:
            if event.startswith(TOUCHES) and next(places) == number:
                os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(hook)

    return arm


def after(seconds: float) -> Callable[[], None]:
    def arm() -> None:
        # Its default action ends the process on the spot.
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, max(seconds, 1e-6))

    return arm


def main(directory: Path, operation: str) -> None:
    torch.set_num_threads(1)
    numbers = itertools.count()
    places = 0
    while True:
        if carried_out(operation, prepared(directory / f"{next(numbers):03d}"), at_place(places)):
            break
        places += 1
    began = time.monotonic()
    carried_out(operation, prepared(directory / f"{next(numbers):03d}"), lambda: None)
    seconds = time.monotonic() - began
    for moment in range(MOMENTS):
        store = prepared(directory / f"{next(numbers):03d}")
        carried_out(operation, store, after(seconds * moment / MOMENTS))
    print(places, seconds)  # noqa: T201


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
