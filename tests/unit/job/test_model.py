"""A job by itself, without a file: its defaults, and what cannot be one."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from supervisor.job import BestMode, Device, Job


def job(**changes: Any) -> Job:
    return Job.model_validate({"trainer": "mine:Trainer", "steps": 5, **changes})


def test_a_trainer_and_steps_are_enough() -> None:
    found = job()
    assert found.device is Device.AUTO
    assert (found.config, found.policy, found.faults, found.quarantine) == ({}, None, None, None)
    assert (found.seed, found.cpu_threads, found.observations) == (0, 1, False)


def test_it_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        job().steps = 3  # type: ignore[misc]


@pytest.mark.parametrize("trainer", ["a:B", "a.b.c:D", "a:B.C"])
def test_names_of_classes(trainer: str) -> None:
    assert job(trainer=trainer).trainer == trainer


@pytest.mark.parametrize("trainer", ["a", "a:", ":B", "a.:B", "a b:C", "a:class", "a/b.py:C", "", "a:B:C", "1a:B"])
def test_what_names_no_class(trainer: str) -> None:
    with pytest.raises(ValidationError, match="does not name a class"):
        job(trainer=trainer)


@pytest.mark.parametrize("key", ["run_dir", "quarantine"])
@pytest.mark.parametrize("path", ["", "  ", "a\0b"])
def test_what_is_no_path(key: str, path: str) -> None:
    with pytest.raises(ValidationError, match="is not a path"):
        job(**{key: path})


def test_evaluations_and_the_best_checkpoint() -> None:
    found = job(evaluate_every_steps=50, keep_best={"metric": "mrr", "mode": "max"})
    assert found.keep_best is not None
    assert (found.evaluate_every_steps, found.keep_best.metric, found.keep_best.mode) == (50, "mrr", BestMode.MAX)
    assert (job().evaluate_every_steps, job().keep_best) == (None, None)


@pytest.mark.parametrize(
    "wrong",
    [
        {"evaluate_every_steps": 0},
        {"evaluate_every_steps": True},
        {"keep_best": "mrr"},
        {"keep_best": {"metric": "mrr"}},
        {"keep_best": {"metric": "", "mode": "max"}},
        {"keep_best": {"metric": "mrr", "mode": "most"}},
        {"keep_best": {"metric": "mrr", "mode": "max", "keep": 2}},
    ],
)
def test_what_says_nothing_about_evaluations(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        job(**wrong)


@pytest.mark.parametrize("policy", [5, "", " ", [], True])
def test_what_is_no_policy(policy: Any) -> None:
    with pytest.raises(ValidationError, match="is neither a file nor a mapping"):
        job(policy=policy)


@pytest.mark.parametrize("faults", [5, "", " ", {}, True])
def test_what_is_no_script_of_faults(faults: Any) -> None:
    with pytest.raises(ValidationError, match="is neither a file nor a list"):
        job(faults=faults)


@pytest.mark.parametrize("key", ["steps", "seed", "log_every_steps", "cpu_threads"])
@pytest.mark.parametrize("wrong", [True, "5", 5.0, None, -1, 10**20])
def test_numbers_are_strict_and_bounded(key: str, wrong: Any) -> None:
    with pytest.raises(ValidationError):
        job(**{key: wrong})
