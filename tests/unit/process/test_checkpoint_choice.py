"""Which checkpoint of a run is meant."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from supervisor.checkpoints import CheckpointStore
from supervisor.errors import InputError
from supervisor.job import BestMode, KeepBest
from supervisor.process.checkpoint_choice import choose
from supervisor.run_layout import RunLayout

BEST = KeepBest(metric="mrr", mode=BestMode.MAX)


def run_of(folder: Path, *checkpoints: tuple[int, bool, float | None]) -> Path:
    """A run directory with these checkpoints: step, good, metric."""
    store = CheckpointStore(RunLayout(folder).checkpoints, "run")
    for step, good, mrr in checkpoints:
        store.write(step, step, {"w": torch.zeros(1)}, good=good, metrics=None if mrr is None else {"mrr": mrr})
    return folder


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    return run_of(tmp_path, (0, True, None), (4, True, 0.9), (8, True, 0.3), (12, False, 0.2))


@pytest.mark.parametrize(
    ("wanted", "keep_best", "name", "which"),
    [
        (None, BEST, "step-00000004", "best: mrr 0.9"),
        ("best", BEST, "step-00000004", "best: mrr 0.9"),
        (None, KeepBest(metric="mrr", mode=BestMode.MIN), "step-00000012", "best: mrr 0.2"),
        (None, None, "step-00000008", "newest good one; step-00000012 is newer: --checkpoint last"),
        (
            None,
            KeepBest(metric="top1", mode=BestMode.MAX),
            "step-00000008",
            "newest good one; step-00000012 is newer: --checkpoint last",
        ),
        ("good", BEST, "step-00000008", "newest good one"),
        ("last", BEST, "step-00000012", "last"),
        ("step-00000000", BEST, "step-00000000", "as asked for"),
        ("checkpoints/step-00000004", None, "step-00000004", "as asked for"),
    ],
)
def test_it_is_found(run_dir: Path, wanted: str | None, keep_best: KeepBest | None, name: str, which: str) -> None:
    choice = choose(run_dir, wanted, keep_best)
    assert (choice.path.name, choice.which) == (name, which)
    assert choice.path.is_dir()


def test_a_path_from_here_comes_first(run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(run_dir / "checkpoints" / "step-00000004")
    assert choose(run_dir, ".", None).path == run_dir / "checkpoints" / "step-00000004"


@pytest.mark.parametrize(
    ("wanted", "keep_best", "said"),
    [
        ("best", None, r"its job keeps no best checkpoint: write `keep_best: \{metric: NAME, mode: max\}`"),
        ("best", KeepBest(metric="top1", mode=BestMode.MAX), r"none of its checkpoints was evaluated and gave .* top1"),
        ("newest", BEST, r"--checkpoint newest: there is no such checkpoint: write best, good, last, or its folder"),
    ],
)
def test_one_that_is_not_there_is_told_with_the_mend(
    run_dir: Path, wanted: str, keep_best: KeepBest | None, said: str
) -> None:
    with pytest.raises(InputError, match=said):
        choose(run_dir, wanted, keep_best)


def test_a_run_without_any_and_one_without_a_good_one(tmp_path: Path) -> None:
    for wanted in (None, "best", "good", "last"):
        with pytest.raises(InputError, match="has no checkpoint yet"):
            choose(tmp_path, wanted, BEST)
    run_of(tmp_path, (4, False, None))
    for wanted in (None, "good"):
        with pytest.raises(InputError, match="none of its 1 checkpoints is good yet: write --checkpoint last"):
            choose(tmp_path, wanted, BEST)
