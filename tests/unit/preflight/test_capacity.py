"""How many states a run holds, what they take, and when that is too much."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from supervisor import Guard
from supervisor.events import Event
from supervisor.policy import RecoveryPolicy
from supervisor.preflight.capacity import (
    judge_storage,
    most_held,
    run_seconds,
    size,
    slow_disk,
    smaller_batch,
    storage_of,
)
from supervisor.preflight.report import CheckpointCheck, StepCheck, Storage
from supervisor.run_layout import RunLayout
from supervisor.testing.tiny import TinyTrainer

ONE = CheckpointCheck(size_bytes=1000, write_seconds=2.0, state_bytes=700, identical=True)


@pytest.mark.parametrize(
    ("keep", "every", "probation", "steps"),
    [(3, 5, 20, 60), (1, 5, 0, 60), (2, 7, 20, 60), (3, 50, 20, 60), (9, 20, 5, 60)],
)
def test_a_run_holds_so_many_and_no_more(tmp_path: Path, keep: int, every: int, probation: int, steps: int) -> None:
    """Counted at every step of a run, as they are promoted and let go."""
    trainer, layout, counts = TinyTrainer(), RunLayout(tmp_path / "run"), set[int]()
    policy = {"checkpoint": {"every_steps": every, "keep": keep}, "probation_steps": probation}

    def counted(event: Event) -> None:
        counts.add(len([*layout.checkpoints.glob("step-*")]) if layout.checkpoints.is_dir() else 0)

    arguments: dict[str, Any] = {"model": trainer.model, "optimizer": trainer.optimizer, "loss": trainer.loss}
    guard = Guard(
        **arguments,
        data=trainer.data,
        policy=policy,
        run_dir=layout.root,
        listeners=[counted],
        log_every_steps=1,
        quiet=True,
    )
    guard.run(steps)
    guard.close()
    held = most_held(keep, every, probation, steps)
    assert held <= max(counts) <= held + 1


def test_none_is_ever_taken_where_none_is_kept() -> None:
    assert most_held(0, 20, 20, 1000) == 0


def test_what_is_kept_takes_its_room_and_one_more_is_being_written() -> None:
    policy = RecoveryPolicy.model_validate(
        {
            "checkpoint": {"every_steps": 10, "keep": 3},
            "snapshot": {"every_steps": 20, "keep": 2},
            "probation_steps": 20,
        }
    )
    storage = storage_of(policy, 1000, ONE, 10**6, None)
    assert (storage.checkpoints, storage.checkpoint_bytes) == (5, 6000)
    assert (storage.snapshots, storage.snapshot_bytes) == (3, 2100)
    assert storage_of(policy, 10, ONE, 10**6, None).checkpoint_bytes == 2000


def storage(needed: int, free: int, memory: int | None = None) -> Storage:
    return Storage(
        checkpoints=4,
        checkpoint_bytes=needed,
        free_bytes=free,
        snapshots=3,
        snapshot_bytes=600,
        memory_bytes=memory,
    )


def test_a_disk_that_is_too_small_is_a_problem_and_one_that_is_nearly_a_warning() -> None:
    problems, warnings = judge_storage(storage(5000, 4999), 0, "runs/mine")
    assert warnings == []
    assert problems[0].startswith("runs/mine: the checkpoints need 5 kB and the disk has 5 kB left: make room, write")
    problems, warnings = judge_storage(storage(5000, 6000), 0, "runs/mine")
    assert problems == []
    assert warnings[0].startswith("runs/mine: the checkpoints need 5 kB of the 6 kB that the disk has left")
    assert judge_storage(storage(5000, 10_000), 0, "runs/mine") == ([], [])


def test_snapshots_that_do_not_fit_into_the_memory_are_a_warning() -> None:
    assert judge_storage(storage(1, 100, memory=1000), 400, "run") == ([], [])
    problems, (warning,) = judge_storage(storage(1, 100, memory=1000), 401, "run")
    assert problems == []
    assert warning.startswith("memory: 401 bytes and 3 snapshots come to 1 kB, and there are 1 kB: write a smaller")


def test_the_whole_run_is_start_steps_last_checkpoint_and_evaluation() -> None:
    step = StepCheck(
        applied=6, first_seconds=1.0, seconds=0.1, peak_memory_bytes=1, evaluate_seconds=3.0, run_seconds=0.0
    )
    policy = RecoveryPolicy.model_validate({"checkpoint": {"every_steps": 100}})
    assert run_seconds(policy, 1001, 5.0, step, 2.0) == pytest.approx(5 + 1 + 100 + 2 + 3)
    # Due every 10 s and written in 12: the training waits 2 s, ten times.
    assert run_seconds(policy, 1001, 5.0, step, 12.0) == pytest.approx(5 + 1 + 100 + 12 + 3 + 20)


def test_a_disk_that_the_training_waits_for_is_a_warning() -> None:
    policy = RecoveryPolicy.model_validate({"checkpoint": {"every_steps": 100}})
    assert slow_disk(policy, 0.1, 10.0) is None
    warning = slow_disk(policy, 0.1, 12.0)
    assert warning is not None
    assert warning.startswith("a checkpoint takes 12 s to write and is due every 10 s: the training waits")


def test_the_smallest_batch_names_the_modules_that_mix_rows() -> None:
    assert "has 1 row, the others 32, and the loss raises on so few: ValueError: no: such a" in smaller_batch(
        1, 32, [], "ValueError: no"
    )
    many = smaller_batch(2, 32, ["a", "b", "c", "d"], "ValueError: no")
    assert "has 2 rows" in many
    assert "BatchNorm (a, b, c ...) takes statistics over the batch" in many


def test_sizes_are_told_in_three_figures() -> None:
    assert [size(count) for count in (0, 999, 1000, 5_740_000, 81_400_000_000, 2 * 10**15)] == [
        "0 bytes",
        "999 bytes",
        "1 kB",
        "5.74 MB",
        "81.4 GB",
        "2e+03 TB",
    ]
