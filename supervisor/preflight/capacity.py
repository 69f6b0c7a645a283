"""How many states a run holds at once, how much room they take, and how long the run takes: pure arithmetic."""

from __future__ import annotations

import math

from supervisor.policy import RecoveryPolicy
from supervisor.preflight.report import CheckpointCheck, StepCheck, Storage
from supervisor.report.durations import duration
from supervisor.report.raised import SMALL_BATCH

__all__ = ["judge_storage", "most_held", "run_seconds", "size", "slow_disk", "smaller_batch", "storage_of"]

NEARLY_FULL = 0.8
"""More than this share of the free disk is worth a warning: the event log and the incidents need room, too."""


def most_held(keep: int, every_steps: int, probation_steps: int, steps: int) -> int:
    """How many states of one kind are held at once, at most, in a run that nothing goes wrong in.

    Args:
        keep: good ones that are kept; 0: none is ever taken.
        every_steps: steps between two.
        probation_steps: steps until one is good; those on probation are held beside the good ones.
        steps: of the run.
    """
    if keep == 0:
        return 0
    taken = 1 + math.ceil(steps / every_steps)
    return min(keep + math.ceil(probation_steps / every_steps), taken)


def storage_of(
    policy: RecoveryPolicy, steps: int, checkpoint: CheckpointCheck, free_bytes: int, memory_bytes: int | None
) -> Storage:
    """What a run keeps on disk and in memory, against what there is."""
    disk, memory = policy.checkpoint, policy.snapshot
    held = most_held(disk.keep, disk.every_steps, policy.probation_steps, steps)
    snapshots = most_held(memory.keep, memory.every_steps, policy.probation_steps, steps)
    # A new one is whole on disk before an old one goes.
    written = held + 1 if 1 + math.ceil(steps / disk.every_steps) > held else held
    return Storage(
        checkpoints=held,
        checkpoint_bytes=written * checkpoint.size_bytes,
        free_bytes=free_bytes,
        snapshots=snapshots,
        snapshot_bytes=snapshots * checkpoint.state_bytes,
        memory_bytes=memory_bytes,
    )


def judge_storage(storage: Storage, peak_bytes: int, where: str) -> tuple[list[str], list[str]]:
    """What surely fails, and what is worth a warning.

    Args:
        storage: what the run keeps.
        peak_bytes: memory that the model's device has needed so far.
        where: the folder whose file system the checkpoints are on.
    """
    problems, warnings = [], []
    needed, free = storage.checkpoint_bytes, storage.free_bytes
    mend = "make room, write another `run_dir`, or a smaller `checkpoint: {keep: ...}` in the policy"
    if needed > free:
        what = f"{where}: the checkpoints need {size(needed)} and the disk has {size(free)} left"
        problems.append(f"{what}: {mend}")
    elif needed > NEARLY_FULL * free:
        warnings.append(
            f"{where}: the checkpoints need {size(needed)} of the {size(free)} that the disk has left: {mend}"
        )
    total = peak_bytes + storage.snapshot_bytes
    if storage.memory_bytes is not None and total > storage.memory_bytes:
        warnings.append(
            f"memory: {size(peak_bytes)} and {storage.snapshots} snapshots come to {size(total)}, and there are "
            f"{size(storage.memory_bytes)}: write a smaller `snapshot: {{keep: ...}}` in the policy"
        )
    return problems, warnings


def run_seconds(
    policy: RecoveryPolicy, steps: int, build_seconds: float, step: StepCheck, write_seconds: float
) -> float:
    """The estimate for a whole run in which nothing goes wrong.

    A checkpoint is written beside the training, which waits only where the next one is due before.
    """
    every = policy.checkpoint.every_steps
    waited = max(0.0, write_seconds - every * step.seconds) * (steps // every)
    training = step.first_seconds + step.seconds * (steps - 1)
    return build_seconds + training + waited + write_seconds + (step.evaluate_seconds or 0.0)


def slow_disk(policy: RecoveryPolicy, step_seconds: float, write_seconds: float) -> str | None:
    """A warning where the training would wait for its checkpoints."""
    between = policy.checkpoint.every_steps * step_seconds
    if write_seconds <= between:
        return None
    return (
        f"a checkpoint takes {duration(write_seconds)} to write and is due every {duration(between)}: the training "
        "waits for the disk: write a larger `checkpoint: {every_steps: ...}` in the policy"
    )


def smaller_batch(smallest: int, usual: int, batch_norms: list[str], error: str) -> str:
    """A warning about the smallest batch of an epoch, which the loss cannot take.

    Args:
        smallest: rows in it.
        usual: rows in the others.
        batch_norms: names of the modules that take statistics over a batch in training.
        error: what the loss raised on so few rows.
    """
    names = ", ".join(batch_norms[:3]) + (" ..." if len(batch_norms) > 3 else "")
    because = f"; BatchNorm ({names}) takes statistics over the batch" if names else ""
    rows = f"{smallest} row{'s' if smallest > 1 else ''}"
    what = f"the smallest batch of an epoch has {rows}, the others {usual}"
    return (
        f"{what}, and the loss raises on so few: {error}{because}: "
        f"such a batch would be skipped in every epoch: {SMALL_BATCH}"
    )


def size(count: int) -> str:
    """Bytes as a person would say them: `512 bytes`, `3.2 MB`, `1.5 GB`."""
    amount, unit = float(count), "bytes"
    for larger in ("kB", "MB", "GB", "TB"):
        if amount < 1000:
            break
        amount, unit = amount / 1000, larger
    return f"{amount:.3g} {unit}" if unit != "bytes" else f"{count} bytes"
