"""What a preflight found, as plain data: one strict JSON object."""

from __future__ import annotations

import enum

from pydantic import Field

from supervisor.events.base import Number, RecordModel

__all__ = ["BadRow", "CheckpointCheck", "DataCheck", "Preflight", "RowFault", "StepCheck", "Storage"]


class RowFault(enum.StrEnum):
    """What is wrong with a row."""

    RAISES = "raises"
    """Reading it raises an exception, or no batch can be made with it."""
    NOT_FINITE = "not_finite"
    """It holds a NaN or an infinity."""
    FAR_OUTSIDE = "far_outside"
    """It holds a value far outside of its column."""


class BadRow(RecordModel):
    """One row with something wrong.

    Attributes:
        fault: what is wrong.
        index: its index in the data set, None where that is not known; then
        batch: the number of its batch in the pass, from 0, and
        position: its place in that batch, None for the whole batch; without a batch, its place among the rows that the
            sampler asks for.
        what: what was found, in words.
    """

    fault: RowFault
    index: int | str | None = None
    batch: int | None = None
    position: int | None = None
    what: str


class StepCheck(RecordModel):
    """What the first updates took.

    Attributes:
        applied: updates applied.
        first_seconds: wall time of the first one, its batch included.
        seconds: median of the others'; the first one's where there is no other.
        peak_memory_bytes: largest resident memory of the process so far.
        peak_cuda_bytes: largest memory allocated on the CUDA device, None without one.
        evaluate_seconds: what one evaluation took, None where the trainer has none.
        metrics: what it gave.
        run_seconds: the estimate for the whole run.
    """

    applied: int
    first_seconds: float
    seconds: float
    peak_memory_bytes: int
    peak_cuda_bytes: int | None = None
    evaluate_seconds: float | None = None
    metrics: dict[str, Number] = Field(default_factory=dict)
    run_seconds: float


class CheckpointCheck(RecordModel):
    """One checkpoint, written and read back.

    Attributes:
        size_bytes: what it takes on disk.
        write_seconds: how long it took until it was durable.
        state_bytes: the tensors of the state in it, which a snapshot in memory holds too.
        identical: whether what was read is what was written, bit for bit.
    """

    size_bytes: int
    write_seconds: float
    state_bytes: int
    identical: bool


class Storage(RecordModel):
    """What the run keeps, against what there is.

    Attributes:
        checkpoints: how many are on disk at once, at most.
        checkpoint_bytes: what they take together, one more included while it is written.
        free_bytes: free on the file system of the run directory.
        snapshots: states held in memory at once, at most.
        snapshot_bytes: what these take together.
        memory_bytes: memory of the machine, or of the CUDA device where the model is on one; None where not known.
    """

    checkpoints: int
    checkpoint_bytes: int
    free_bytes: int
    snapshots: int
    snapshot_bytes: int
    memory_bytes: int | None = None


class DataCheck(RecordModel):
    """One pass over the data.

    Attributes:
        unit: what `total` counts: `rows` of a data set, or `batches`.
        total: how many there are, None where the data do not say.
        read: how many of them were looked at.
        complete: whether that was all of them.
        enough: whether the pass ended because the run needs no more; never where `complete`.
        rows: how many rows these are.
        bad_rows: those with something wrong.
        usual: what holds for so many rows that none of them is named, in words.
        notes: what the pass did not come to, in words.
        smallest_batch: rows in the smallest batch of an epoch, where it is smaller than the others.
        largest_batch: rows in the largest one, None where that is not known.
    """

    unit: str
    total: int | None
    read: int
    complete: bool
    enough: bool = False
    rows: int
    bad_rows: tuple[BadRow, ...] = ()
    usual: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    smallest_batch: int | None = None
    largest_batch: int | None = None

    def of(self, fault: RowFault) -> list[BadRow]:
        """The rows with that fault."""
        return [row for row in self.bad_rows if row.fault is fault]


class Preflight(RecordModel):
    """All that was found.

    Attributes:
        job: the job file, as the user typed it.
        trainer: its trainer.
        device: where the model was; None where it was not built.
        steps: of the whole run.
        build_seconds: how long it took until the trainer was built.
        step, checkpoint, storage, data: the parts; None where the preflight did not get so far.
        quarantine: the list that was written, None where none was.
        quarantined: rows in it.
        warnings: what the run would survive, one sentence each.
        problems: why the run would not start, or would surely fail; empty where it can.
    """

    job: str
    trainer: str
    device: str | None = None
    steps: int
    build_seconds: float | None = None
    step: StepCheck | None = None
    checkpoint: CheckpointCheck | None = None
    storage: Storage | None = None
    data: DataCheck | None = None
    quarantine: str | None = None
    quarantined: int = 0
    warnings: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
