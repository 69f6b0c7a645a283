"""What an evaluation gave, beside the checkpoint that it was made on."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch

from supervisor.checkpoints import CheckpointStore, read_metrics, write_metrics


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return CheckpointStore(tmp_path, "run").write(4, 5, {"w": torch.zeros(2)})


def test_it_is_read_as_it_was_written_and_what_is_not_finite_is_left_out(checkpoint: Path) -> None:
    assert read_metrics(checkpoint) is None
    assert write_metrics(checkpoint, {"mrr": 0.1 + 0.2, "worst": math.nan, "far": -math.inf}) == checkpoint
    assert read_metrics(checkpoint) == {"mrr": 0.1 + 0.2}
    CheckpointStore(checkpoint.parent, "run").verify(checkpoint)


def test_one_that_was_written_with_its_checkpoint_comes_with_it(tmp_path: Path) -> None:
    path = CheckpointStore(tmp_path, "run").write(4, 5, {"w": torch.zeros(2)}, metrics={"mrr": 0.5})
    assert read_metrics(path) == {"mrr": 0.5}


def test_that_of_another_checkpoint_counts_for_nothing(checkpoint: Path, tmp_path: Path) -> None:
    write_metrics(checkpoint, {"mrr": 0.5})
    other = CheckpointStore(tmp_path, "run").write(8, 9, {"w": torch.ones(2)})
    (other / "metrics.json").write_bytes((checkpoint / "metrics.json").read_bytes())
    assert read_metrics(other) is None


@pytest.mark.parametrize("content", ["", "{", "[]", json.dumps({"schema": 2, "metrics": {}})])
def test_one_that_cannot_be_read_is_none(checkpoint: Path, content: str) -> None:
    (checkpoint / "metrics.json").write_text(content)
    assert read_metrics(checkpoint) is None


def test_without_a_checkpoint_nothing_is_written(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="manifest"):
        write_metrics(tmp_path, {"mrr": 0.5})
    assert list(tmp_path.iterdir()) == []
