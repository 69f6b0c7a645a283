"""A default device or type that is not the model's changes nothing: the supervisor names its own."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from support.exact import assert_same, everything
from support.training import build, guard_of, healthy_batches, nan_batch, quiet, spoilt_at

BATCHES = healthy_batches(12)
WITH_A_BAD_ONE = [*BATCHES[:4], nan_batch(BATCHES[4]), *BATCHES[5:]]
RELOAD = [{"action": "skip_batch"}, {"action": "reload_checkpoint"}, {"action": "halt"}]
REINITIALIZE = [{"action": "skip_batch"}, {"action": "reinitialize", "modules": ["outer"]}, {"action": "halt"}]
CURES = [{"action": "try_cures"}, {"action": "skip_batch"}, {"action": "reload_checkpoint"}, {"action": "halt"}]


@contextlib.contextmanager
def default(name: str) -> Iterator[None]:
    before = torch.get_default_dtype()
    try:
        if name == "meta":
            torch.set_default_device("meta")
        else:
            torch.set_default_dtype(getattr(torch, name))
        yield
    finally:
        torch.set_default_device(None)
        torch.set_default_dtype(before)


def run(ladder: list[dict[str, Any]], run_dir: Path, within: Any) -> tuple[Any, Any]:
    """A bad batch every twelve steps, spoilt weights at step 25, an end at 30 and a resume to 50."""
    often = {"snapshot": {"every_steps": 5}, "checkpoint": {"every_steps": 10}, "probation_steps": 2}
    policy = quiet(ladder=ladder, cooldown_steps=3, **often)
    for resume, steps in ((False, 30), (True, 50)):
        training, guard = build(optimizer="sgd_momentum"), []  # type: Training, list[Any]
        with within:
            loss = spoilt_at(training, 25, guard)
            guard.append(
                guard_of(training, WITH_A_BAD_ONE, loss=loss, policy=policy, run_dir=run_dir, resume=resume, quiet=True)
            )
            summary = guard[0].run(steps)
    return summary, everything(training)


@pytest.mark.parametrize("ladder", [RELOAD, REINITIALIZE, CURES], ids=["reload", "reinitialize", "cures"])
@pytest.mark.parametrize("name", ["meta", "float64", "bfloat16"])
def test_another_default_changes_nothing(name: str, ladder: list[dict[str, Any]], tmp_path: Path) -> None:
    expected, state = run(ladder, tmp_path / "a", contextlib.nullcontext())

    found, other = run(ladder, tmp_path / "b", Again(name))

    assert expected.incidents > 1
    same = {"seconds": 0, "goodput": 0, "account": None}
    assert found.model_copy(update=same) == expected.model_copy(update=same)
    assert_same(other, state)


class Again:
    """The block, entered more than once."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None:
        self._block = default(self._name)
        self._block.__enter__()

    def __exit__(self, *error: Any) -> None:
        self._block.__exit__(*error)
