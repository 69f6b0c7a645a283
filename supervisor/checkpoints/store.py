"""The checkpoint store: write, verify, commit, promote, load, retire; and the thread in which a run lets it write."""

from __future__ import annotations

import shutil
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import tenacity
import torch

from supervisor.checkpoints.leftovers import empty_folder, tidy_up
from supervisor.checkpoints.measured import read_metrics, write_metrics
from supervisor.clock import Clock, SystemClock
from supervisor.errors import CheckpointError, text_of
from supervisor.run_layout import replace_file, sync_file, sync_folder
from supervisor.saved.manifest import GoodMark, Manifest, sha256_of
from supervisor.saved.verification import (
    GOOD_FILE,
    MANIFEST_FILE,
    STATE_FILE,
    CheckpointInfo,
    committed,
    is_marked,
    names_of,
    verify,
)
from supervisor.training.tree import plain, tensors

__all__ = ["BackgroundWriter", "CheckpointStore"]

SPARE_BYTES = 1 << 16


NO_SYNC = (
    "this file system cannot confirm the names of files (fsync of a folder is refused): checkpoints are written as "
    "ever, and a power cut may lose the newest one"
)


class CheckpointStore:
    """The checkpoints of one run, one directory each: `step-00000200/`.

    A state of a step at which a good checkpoint stands already, and which is not good itself (modules were redrawn
    on it), stands beside it as `step-00000200-update-00000251/`; and so does one that was not evaluated beside one that
    was.

    A checkpoint is written into a temporary directory, flushed to the disk file by file, and then renamed, so that a
    kill at any moment leaves it whole or absent. What is read is verified first: manifest, sizes, SHA-256.

    Args:
        directory: `RUN_DIR/checkpoints`; created when the first one is written.
        run_id: stamped into each manifest.
        clock: waits between attempts at a write that failed.

    Attributes:
        unconfirmed: what the file system could not confirm of the last checkpoint, and what follows; None: all is well.
    """

    def __init__(self, directory: Path, run_id: str, clock: Clock | None = None) -> None:
        self.directory = directory
        self.unconfirmed: str | None = None
        self._run_id = run_id
        self._clock = clock or SystemClock()

    def recover(self) -> list[str]:
        """Tidy up after a writer that was killed; see `tidy_up`."""
        return tidy_up(self.directory)

    def write(
        self, step: int, update: int, tree: Any, *, good: bool = False, metrics: Mapping[str, float] | None = None
    ) -> Path:
        """Commit `tree` as the checkpoint of `step`, replacing one that is there, but a good one only by a good one.

        A write that the system refuses is tried three times.

        Args:
            step: steps done.
            update: updates attempted.
            tree: nested dicts, lists and tuples of tensors and plain values.
            good: mark it as good from the start.
            metrics: what the evaluation gave on this state, where it was evaluated.

        Returns:
            The checkpoint's directory.

        Raises:
            CheckpointError: it could not be written; nothing that was there is harmed.
            TypeError: something in `tree` cannot stand in a checkpoint.
        """
        prepared = plain(tree)
        return self._retried(lambda: self._write(step, update, prepared, good, metrics), f"step {step}")

    def promote(self, path: Path) -> None:
        """Mark a checkpoint as good, durably.

        Raises:
            CheckpointError: it is not there or could not be marked.
        """
        self._retried(lambda: self._mark(path), path.name)

    def committed(self) -> list[CheckpointInfo]:
        """All directories named as checkpoints; see `supervisor.saved.committed`."""
        return committed(self.directory)

    def verify(self, path: Path) -> Manifest:
        """The manifest of a checkpoint whose every file is as it was written.

        Raises:
            CheckpointError: the manifest is missing or malformed, or a file is missing, torn or altered.
        """
        return verify(path)

    def load(self, path: Path) -> Any:
        """The tree of a verified checkpoint, its tensors on the CPU; nothing pickled is executed.

        Raises:
            CheckpointError: it fails verification or cannot be read.
        """
        # Hashing takes longer than loading and does not hold the interpreter: what was loaded waits for the verdict.
        with ThreadPoolExecutor(max_workers=1) as beside:
            verified = beside.submit(self.verify, path)
            try:
                tree = torch.load(path / STATE_FILE, map_location="cpu", weights_only=True)
            except Exception as error:
                # A damaged archive fails in as many ways as there are bytes; verification says it best.
                verified.result()
                what = f"{path.name}: {STATE_FILE} cannot be loaded: {_first_line(error)}"
                raise CheckpointError(what) from error
            verified.result()
        return tree

    def retire(self, path: Path) -> None:
        """Remove a checkpoint, if it is there."""
        if not path.exists():
            return
        # Out of sight first, so that a kill in between leaves no half checkpoint under its name.
        doomed = self.directory / f".unfinished-retired-{path.name}"
        shutil.rmtree(doomed, ignore_errors=True)
        path.rename(doomed)
        shutil.rmtree(doomed, ignore_errors=True)

    def _write(self, step: int, update: int, tree: Any, good: bool, metrics: Mapping[str, float] | None) -> Path:
        self.directory.mkdir(parents=True, exist_ok=True)
        needed = sum(tensor.numel() * tensor.element_size() for _, tensor in tensors(tree)) + SPARE_BYTES
        free = shutil.disk_usage(self.directory).free
        if free < needed:
            raise CheckpointError(f"step {step} needs {needed:,} bytes and the disk has {free:,} left")
        plainly, beside = (self.directory / name for name in names_of(step, update))
        stays = (not good and is_marked(plainly)) or (metrics is None and read_metrics(plainly) is not None)
        target = beside if stays else plainly
        unfinished = empty_folder(self.directory / f".unfinished-{target.name}")
        try:
            with (unfinished / STATE_FILE).open("wb") as file:
                torch.save(tree, file)
                file.flush()
                sync_file(file.fileno())
            files = {STATE_FILE: sha256_of(unfinished / STATE_FILE)}
            manifest = Manifest(step=step, update=update, run_id=self._run_id, files=files)
            text = manifest.model_dump_json(by_alias=True, indent=2)
            replace_file(unfinished / MANIFEST_FILE, f"{text}\n", durable=True)
            if good:
                self._mark(unfinished)
            if metrics is not None:
                write_metrics(unfinished, metrics)
            self._commit(unfinished, target)
        except BaseException:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise
        return target

    def _commit(self, unfinished: Path, target: Path) -> None:
        replaced = self.directory / f".replaced-{target.name}"
        if target.exists():
            shutil.rmtree(replaced, ignore_errors=True)
            target.rename(replaced)
        try:
            unfinished.rename(target)
        except OSError:
            if replaced.exists():
                replaced.rename(target)
            raise
        self.unconfirmed = None if sync_folder(self.directory) else NO_SYNC
        shutil.rmtree(replaced, ignore_errors=True)

    def _mark(self, path: Path) -> Path:
        mark = GoodMark(manifest_sha256=sha256_of(path / MANIFEST_FILE).sha256)
        replace_file(path / GOOD_FILE, f"{mark.model_dump_json(by_alias=True)}\n", durable=True)
        return path

    def _retried(self, work: Callable[[], Path], what: str) -> Path:
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(OSError),
            stop=tenacity.stop_after_attempt(3),
            wait=tenacity.wait_exponential(multiplier=0.1, max=1),
            sleep=self._clock.sleep,
            reraise=True,
        )
        try:
            return retrying(work)
        except (OSError, RuntimeError) as error:
            # torch reports a full disk as a RuntimeError of its archive writer.
            raise CheckpointError(f"{what} could not be written: {_first_line(error)}") from error


class BackgroundWriter:
    """Does one piece of work after the other in a thread of its own, and reports each in the caller's thread.

    The training thread pays for the copy of a state alone.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="checkpoint")
        self._begun: deque[tuple[Future[Any], Callable[[Future[Any]], None]]] = deque()

    def begin(self, work: Callable[[], Any], then: Callable[[Future[Any]], None]) -> None:
        """Begin `work`; `then` is called by a later `settle`, with its result or what it raised."""
        self._begun.append((self._thread.submit(work), then))

    def settle(self, *, wait: bool = False) -> None:
        """Report what is done, in order; with `wait`, wait until all of it is, what a report begins included."""
        while self._begun and (wait or self._begun[0][0].done()):
            future, then = self._begun.popleft()
            future.exception()
            then(future)


def _first_line(error: BaseException) -> str:
    return (text_of(error).strip() or type(error).__name__).splitlines()[0]
