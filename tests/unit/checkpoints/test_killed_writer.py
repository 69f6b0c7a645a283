"""A writer that is killed, anywhere: every older checkpoint stays whole, and nothing half stands under its name."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from support import killed_writer
from support.command import PATIENCE_SECONDS
from support.killed_writer import OPERATIONS, tree

from supervisor.checkpoints import CheckpointStore

LEFT = {
    "write": {20: [0], 30: [None, 0]},
    "replace": {20: [0, 1]},
    "promote": {20: [0]},
    "retire": {20: [0, None]},
}
"""For each operation the versions of a step that may stand after a kill and tidying up; None: the step is gone."""


def whole(store: CheckpointStore) -> dict[int, Any]:
    """What the store offers, verified and loaded."""
    return {info.step: store.load(info.path) for info in store.committed()}


def assert_one_of(loaded: dict[int, Any], step: int, versions: list[int | None]) -> None:
    if step not in loaded:
        assert None in versions
        return
    held = loaded[step]
    assert held["version"] in versions
    assert torch.equal(held["weights"], tree(step, held["version"])["weights"])


@pytest.mark.parametrize(
    "operation", ["write", *(pytest.param(each, marks=pytest.mark.slow) for each in OPERATIONS if each != "write")]
)
def test_a_kill_leaves_the_older_ones_whole_and_nothing_half(operation: str, tmp_path: Path) -> None:
    script = Path(killed_writer.__file__)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(script), str(tmp_path), operation],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_SECONDS,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.returncode == 0, done.stderr
    places = int(done.stdout.split()[0])
    assert places >= 2
    stores = [CheckpointStore(directory, "run") for directory in sorted(tmp_path.iterdir())]
    assert len(stores) > places + 10
    outcomes = set()
    for store in stores:
        before = whole(store)
        assert_one_of(before, 10, [0])
        store.recover()
        after = whole(store)
        assert_one_of(after, 10, [0])
        for step, versions in LEFT[operation].items():
            assert_one_of(after, step, versions)
        assert before.keys() <= after.keys()
        assert not list(store.directory.glob(".*"))
        marks = {info.step: info.good for info in store.committed()}
        assert marks[10]
        outcomes.add(repr({step: (held["version"], marks[step]) for step, held in sorted(after.items())}))
        # The store is as good as new.
        store.write(40, 40, tree(40), good=True)
        assert_one_of(whole(store), 40, [0])
    # Some kills came too early and some too late, so that the ones between were between.
    assert len(outcomes) == 2
