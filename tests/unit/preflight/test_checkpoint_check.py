"""A checkpoint is found good only where it gives back what was there, bit for bit."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from supervisor import Guard
from supervisor.checkpoints import CheckpointStore
from supervisor.clock import SystemClock
from supervisor.errors import CheckpointError
from supervisor.preflight.checkpoint_check import check_checkpoint, different
from supervisor.run_layout import RunLayout
from supervisor.testing.tiny import TinyTrainer


class Counter:
    """Extra state of a user."""

    def __init__(self) -> None:
        self.count = 3

    def state_dict(self) -> dict[str, Any]:
        return {"count": self.count}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.count = state["count"]


class Forgets(Counter):
    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.count = 0


class Refuses(Counter):
    def load_state_dict(self, state: dict[str, Any]) -> None:
        raise KeyError("counts")


def after_updates(run_dir: Path, extra: Counter | None = None, **policy: Any) -> Guard:
    trainer = TinyTrainer()
    guard = Guard(
        model=trainer.model,
        optimizer=trainer.optimizer,
        loss=trainer.loss,
        data=trainer.data,
        extra_state={"extra": extra or Counter()},
        policy=policy,
        run_dir=run_dir,
        quiet=True,
    )
    batches = guard.batches(100)
    for _ in range(3):
        guard.step(next(batches))
    return guard


def test_what_was_written_is_read_again(tmp_path: Path) -> None:
    guard = after_updates(tmp_path / "run")
    found = check_checkpoint(guard, RunLayout(tmp_path / "run"), SystemClock())
    folder = tmp_path / "run" / "checkpoints" / "step-00000003"
    assert found.identical
    assert found.size_bytes == sum(file.stat().st_size for file in folder.iterdir()) > found.state_bytes > 0
    assert found.write_seconds > 0


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (Forgets, r"the checkpoint does not give back what was there: state\.extra\.extra\.count"),
        (Refuses, rf"the checkpoint cannot be put back: KeyError: 'counts' \({re.escape(__file__)}:\d+\)"),
    ],
)
def test_extra_state_that_does_not_come_back_is_found(tmp_path: Path, kind: type[Counter], said: str) -> None:
    guard = after_updates(tmp_path / "run", kind())
    with pytest.raises(CheckpointError) as raised:
        check_checkpoint(guard, RunLayout(tmp_path / "run"), SystemClock())
    assert re.fullmatch(said, str(raised.value))


def test_a_checkpoint_that_is_altered_on_the_disk_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    guard = after_updates(tmp_path / "run")
    guard.finish()
    state = next((tmp_path / "run" / "checkpoints").glob("step-00000003/state.pt"))
    torn = bytearray(state.read_bytes())
    torn[len(torn) // 2] ^= 1
    state.write_bytes(torn)
    with pytest.raises(CheckpointError, match=r"is not what was written|cannot be loaded"):
        check_checkpoint(guard, RunLayout(tmp_path / "run"), SystemClock())


def test_a_checkpoint_that_could_not_be_written_is_found(tmp_path: Path) -> None:
    guard = after_updates(tmp_path / "run", checkpoint={"last_save_seconds": 0.0})
    guard.flush()
    store = CheckpointStore(tmp_path / "run" / "checkpoints", "")
    for each in store.committed():
        store.retire(each.path)
    # A file stands where the folder was.
    (tmp_path / "run" / "checkpoints").rmdir()
    (tmp_path / "run" / "checkpoints").touch()
    with pytest.raises(CheckpointError, match="no checkpoint of the state after the first updates was written"):
        check_checkpoint(guard, RunLayout(tmp_path / "run"), SystemClock())


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (torch.tensor([0.0]), torch.tensor([-0.0])),
        (torch.tensor([1.0]), torch.tensor([1.0], dtype=torch.float64)),
        (torch.zeros(2), torch.zeros(2, 1)),
        (1, 1.0),
        (1, True),
        ({"a": 1}, {"b": 1}),
        ([1], [1, 2]),
        ("a", None),
    ],
)
def test_what_is_not_the_same_is_different(one: Any, other: Any) -> None:
    assert different({"it": one}, {"it": other}) == ["state.it"]


def test_the_same_bits_are_the_same() -> None:
    tree = {"a": [torch.tensor([math.nan, 1.0]), torch.zeros(0), torch.tensor(3)], "b": (math.nan, "x", None, 2)}
    again = {"a": [tensor.clone() for tensor in tree["a"]], "b": [math.nan, "x", None, 2]}
    assert different(tree, again) == []
