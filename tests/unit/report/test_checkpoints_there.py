"""The checkpoints on disk, found without torch, as the store finds them."""

from __future__ import annotations

from pathlib import Path

import torch

from supervisor.checkpoints import CheckpointStore
from supervisor.report.checkpoints_there import CheckpointThere, checkpoints_there
from supervisor.run_layout import RunLayout


def test_they_are_those_of_the_store_oldest_first(tmp_path: Path) -> None:
    layout = RunLayout(tmp_path)
    assert checkpoints_there(layout) == []
    store = CheckpointStore(layout.checkpoints, "r")
    paths = [store.write(step, update, {"w": torch.ones(2)}) for step, update in ((10, 10), (30, 45), (20, 60))]
    store.promote(paths[1])
    assert checkpoints_there(layout) == [
        CheckpointThere("checkpoints/step-00000010", good=False),
        CheckpointThere("checkpoints/step-00000030", good=True),
        CheckpointThere("checkpoints/step-00000020", good=False),
    ]
    assert [info.good for info in reversed(store.committed())] == [each.good for each in checkpoints_there(layout)]


def test_what_has_no_manifest_and_a_mark_of_another_manifest_do_not_count(tmp_path: Path) -> None:
    layout = RunLayout(tmp_path)
    store = CheckpointStore(layout.checkpoints, "r")
    good = store.write(10, 10, {"w": torch.ones(2)}, good=True)
    (layout.checkpoints / "step-00000020").mkdir()
    with (good / "manifest.json").open("a") as file:
        file.write("\n")
    assert checkpoints_there(layout) == [CheckpointThere("checkpoints/step-00000010", good=False)]
