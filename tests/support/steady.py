"""A trainer with everything that a resume has to bring back, and faults that happen to processes.

However busy the machine: a training of a millisecond a step is over before a test process that waits for a moment of it
gets the processor back, so it stands at a gate that the test opens, and a fault waits for what it has to come after.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import errno
import math
import multiprocessing
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FrameType
from typing import Any, Self

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchdata.stateful_dataloader import StatefulDataLoader

__all__ = ["Steady"]

ROWS, FEATURES = 160, 6


class Config(BaseModel):
    """What goes wrong, and when.

    Attributes:
        loader_workers: processes of the data loader.
        batch_size: rows in a batch.
        faults: by name of the fault, the number of the loss call at which it happens; or by `data`, the row.
        always: it happens whenever the run comes there again, or else once.
        learning_rate: of Adam.
        left_bytes: what the fault `fill` leaves of the disk.
        augment: each row is drawn with noise of its own, by a loader that keeps no state.
    """

    model_config = ConfigDict(extra="forbid")

    loader_workers: int = 0
    batch_size: int = 8
    faults: dict[str, int] = {}
    always: bool = False
    learning_rate: float = 0.01
    left_bytes: int = 0
    augment: bool = False


class Rows(Dataset[tuple[Tensor, Tensor]]):
    """Rows of a problem that can be learnt; one of them may be out of order."""

    def __init__(self, bad_row: int | None, happens: Callable[[str], bool], *, augment: bool) -> None:
        self.augment = augment
        generator = torch.Generator().manual_seed(5)
        self.x_NF = torch.randn(ROWS, FEATURES, generator=generator)
        self.y_N1 = torch.tanh(self.x_NF.sum(1, keepdim=True))
        self.bad_row = bad_row
        self.happens = happens

    def __len__(self) -> int:
        return ROWS

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        if index == self.bad_row and self.happens("data"):
            raise OSError("the disk with the data is gone")
        noise_F = 0.01 * torch.randn(FEATURES) if self.augment else torch.zeros(FEATURES)
        return self.x_NF[index] + noise_F, self.y_N1[index]


class Steady:
    """BatchNorm and dropout, Adam under a schedule, shuffled batches with a generator of their own, a counter."""

    def __init__(self, config: Config, seed: int) -> None:
        self.config = config
        if "build" in config.faults and self._happens("build"):
            raise RuntimeError("no trainer today")
        self.model = nn.Sequential(
            nn.Linear(FEATURES, 16), nn.BatchNorm1d(16), nn.Tanh(), nn.Dropout(0.2), nn.Linear(16, 1)
        )
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=config.learning_rate)
        self.scheduler = torch.optim.lr_scheduler.LambdaLR(self.optimizer, lambda step: 0.995**step)
        self.data: Any = (DataLoader if config.augment else StatefulDataLoader)(
            Rows(config.faults.get("data"), self._happens, augment=config.augment),
            batch_size=config.batch_size,
            shuffle=True,
            num_workers=config.loader_workers,
            generator=torch.Generator().manual_seed(seed),
        )
        self.calls = 0

    @classmethod
    def from_config(cls, mapping: Mapping[str, Any], *, seed: int) -> Self:
        return cls(Config.model_validate(mapping), seed)

    def loss(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        x_BF, y_B1 = batch
        number = self.calls
        wait_while(lambda: number >= gate())
        self.calls += 1
        for name, at in self.config.faults.items():
            if name == "raise":
                if number >= at and self._happens(name):
                    raise ValueError("the user's own mistake")
            elif number == at and name not in ("build", "data") and self._happens(name):
                if name in ("fill", "limit"):
                    # What the training thread has handed over at the last multiple of ten is on the disk by then.
                    wait_while(lambda: not saved(number // 10 * 10))
                fill(self.config.left_bytes) if name == "fill" else FAULTS[name]()
        x_BF = x_BF + 0.01 * torch.randn_like(x_BF)
        return nn.functional.mse_loss(self.model(x_BF), y_B1)

    def state_dict(self) -> dict[str, int]:
        return {"calls": self.calls}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        self.calls = state["calls"]

    def _happens(self, name: str) -> bool:
        """Whether a fault is to happen now: once in a run, also across restarts, unless always."""
        if self.config.always:
            return True
        marker = Path(f"happened-{name}")
        if marker.exists():
            return False
        marker.touch()
        return True


GATE, SLOW_DISK = Path("gate"), Path("slow-disk")
"""Files of the test's: the number of the loss call that waits, with all after it; and while it is there, the disk."""


def wait_while(condition: Callable[[], object]) -> None:
    while condition():
        time.sleep(0.001)


def gate() -> float:
    """The loss call that may not begin yet."""
    try:
        return int(GATE.read_text())
    except OSError:
        return math.inf


def saved(step: int) -> bool:
    """Whether the checkpoint of a step is on the disk."""
    return any(Path().glob(f"**/checkpoints/step-{step:08d}"))


def slow_fsync(descriptor: int, fsync: Callable[[int], None] = os.fsync) -> None:
    """A disk that is not done with a new checkpoint before the test wants it to be."""
    if "/.unfinished-step-" in str(Path(f"/proc/self/fd/{descriptor}").readlink()):
        wait_while(SLOW_DISK.exists)
    fsync(descriptor)


os.fsync = slow_fsync


def sleep_for_ever() -> None:
    while True:
        time.sleep(3600)  # the line at which it stands still


def native_for_ever() -> None:
    """In native code without the interpreter's lock, where no Python handler of a signal ever runs."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    libc = ctypes.CDLL(None)
    while True:
        libc.pause()


def native_holding_the_lock() -> None:
    """The same with the interpreter's lock held: no other thread runs either."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    libc = ctypes.PyDLL(None)
    while True:
        libc.sleep(3600)


def helper() -> None:
    """Start a process that the worker then forgets."""
    Path("helper.pid").write_text(str(subprocess.Popen(["sleep", "3600"]).pid))


def kill_loader() -> None:
    """As the kernel does to a process of the data loader that takes too much memory."""
    os.kill(multiprocessing.active_children()[0].pid or 0, signal.SIGKILL)


def stop_everything() -> None:
    """As a scheduler does to every process of a job at once."""
    asking_the_parent(signal.SIGTERM)()
    for child in multiprocessing.active_children():
        child.terminate()
    os.kill(os.getpid(), signal.SIGTERM)


def crash_at_exit() -> None:
    """Long after the run has ended: as a library does whose own end goes wrong."""
    atexit.register(signalling(os.getpid, signal.SIGSEGV))


def linger() -> None:
    """A thread that nobody joins keeps the process from ending."""
    threading.Thread(target=sleep_for_ever).start()


def session_child() -> None:
    """A helper that is out of reach of a signal to the worker's group."""
    Path("helper.pid").write_text(str(subprocess.Popen(["sleep", "3600"], start_new_session=True).pid))


def no_folder_sync() -> None:
    """As on a file system that cannot flush the names in a folder."""
    fsync = os.fsync

    def refuse(descriptor: int) -> None:
        if Path(f"/proc/self/fd/{descriptor}").readlink().is_dir():
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        fsync(descriptor)

    os.fsync = refuse


FILLER = Path("disk/filler")


def fill(left_bytes: int) -> None:
    """Fill the disk that is mounted at `disk`, in earnest."""
    with FILLER.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(1 << 12))
    os.truncate(FILLER, FILLER.stat().st_size - left_bytes)


def limit_files() -> None:
    """No file of this process may grow beyond 12 KiB."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (12 << 10, resource.RLIM_INFINITY))


def lift_limit() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


def asking_the_parent(number: signal.Signals) -> Callable[[], None]:
    """As a scheduler and a terminal do: to the parent alone. The step goes on once the parent has passed it on."""

    def ask() -> None:
        came: list[int] = []
        before: Any = signal.getsignal(number)

        def receive(received: int, frame: FrameType | None) -> None:
            came.append(received)
            before(received, frame)

        signal.signal(number, receive)
        os.kill(os.getppid(), number)
        wait_while(lambda: not came)
        signal.signal(number, before)

    return ask


def signalling(target: Callable[[], int], number: signal.Signals) -> Callable[[], None]:
    return lambda: os.kill(target(), number)


def leaving(code: int) -> Callable[[], None]:
    return lambda: os._exit(code)


def ending(code: int) -> Callable[[], None]:
    return lambda: sys.exit(code)


FAULTS: dict[str, Callable[[], None]] = {
    "os_exit_9": leaving(9),
    "os_exit_0": leaving(0),
    "sys_exit_0": ending(0),
    "segfault": signalling(os.getpid, signal.SIGSEGV),
    "kill": signalling(os.getpid, signal.SIGKILL),
    "kill_parent": signalling(os.getppid, signal.SIGKILL),
    "sigterm": asking_the_parent(signal.SIGTERM),
    "sigint": asking_the_parent(signal.SIGINT),
    "sleep": sleep_for_ever,
    "native": native_for_ever,
    "native_locked": native_holding_the_lock,
    "helper": helper,
    "kill_loader": kill_loader,
    "stop_everything": stop_everything,
    "crash_at_exit": crash_at_exit,
    "linger": linger,
    "session_child": session_child,
    "no_folder_sync": no_folder_sync,
    "empty": lambda: FILLER.unlink(),
    "limit": limit_files,
    "lift": lift_limit,
}
