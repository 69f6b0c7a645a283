"""Acceptance: numbers that only look wrong alarm nobody."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from support.command import read_lines, supervise, write_job, write_trainer
from support.exact import assert_same, everything
from support.training import EventList, Net, build, guard_of, healthy_batches, quiet
from torch import Tensor
from torch.optim.lr_scheduler import ReduceLROnPlateau

from supervisor import InputError, load_policy

BATCHES = healthy_batches(40)


class Masked(Net):
    """A causal mask of -inf in a buffer, and an infinite one that is not persistent."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mask", torch.triu(torch.full((6, 6), -math.inf), diagonal=1))
        self.register_buffer("best", torch.tensor(math.inf), persistent=False)

    def forward(self, x_BF: Tensor) -> Tensor:
        scores_BFF = x_BF.unsqueeze(1) * x_BF.unsqueeze(2) + self.mask
        mixed_BF = (scores_BFF.softmax(-1) @ x_BF.unsqueeze(2)).squeeze(2)
        logits: Tensor = super().forward(mixed_BF)
        return logits


def test_a_causal_mask_of_minus_infinity_is_exempt_and_logged_once(tmp_path: Path) -> None:
    training, heard = build(model=Masked), EventList()
    policy = quiet(detect={"state_every_steps": 1}, checkpoint={"every_steps": 3}, probation_steps=2)
    guard = guard_of(training, BATCHES, policy=policy, run_dir=tmp_path / "run", listeners=[heard])
    summary = guard.run(30)
    assert summary.incidents == 0
    assert [set(event.buffers) for event in heard.named("buffer_exempt")] == [{"mask", "best"}]
    assert len(heard.named("checkpoint_promoted")) > 5


def test_a_state_with_an_exempt_mask_can_be_restored(tmp_path: Path) -> None:
    for keep in (0, 2):
        training, heard = build(model=Masked), EventList()
        policy = quiet(
            ladder=[{"action": "reload_checkpoint"}],
            snapshot={"keep": keep, "every_steps": 3},
            checkpoint={"every_steps": 3},
            probation_steps=2,
        )
        guard = guard_of(training, policy=policy, run_dir=tmp_path / f"{keep}", listeners=[heard])
        states = []
        for batch in BATCHES[:9]:
            guard.step(batch)
            states.append(everything(training))
        guard.step((BATCHES[9][0] * math.nan, BATCHES[9][1]))
        assert heard.named("action_applied")[0].restored_step == 6
        assert_same(everything(training), states[5])


def test_only_the_elements_that_were_infinite_are_exempt() -> None:
    training = build(model=Masked)
    guard = guard_of(training, policy=quiet(detect={"state_every_steps": 1}))
    guard.step(BATCHES[0])
    training.model.mask[1, 0] = math.nan  # type: ignore[union-attr,operator,index]
    outcome = guard.step(BATCHES[1])
    assert str(outcome.signals[0].name) == "nonfinite_parameter"
    assert "mask" in outcome.signals[0].details["tensors"]  # type: ignore[operator]


def test_the_infinite_best_of_a_plateau_scheduler_alarms_nobody(tmp_path: Path) -> None:
    training, heard = build(scheduler="plateau"), EventList()
    assert isinstance(training.scheduler, ReduceLROnPlateau)
    assert training.scheduler.best == math.inf
    policy = quiet(
        detect={"state_every_steps": 1},
        ladder=[{"action": "reload_checkpoint"}],
        snapshot={"keep": 0},
        checkpoint={"every_steps": 50},
    )
    guard = guard_of(training, policy=policy, run_dir=tmp_path / "run", listeners=[heard])
    guard.step(BATCHES[0])
    assert training.scheduler.best < math.inf
    assert guard.step((BATCHES[1][0] * math.nan, BATCHES[1][1])).action == "reload_checkpoint"
    assert training.scheduler.best == math.inf
    for batch in BATCHES[2:20]:
        assert guard.step(batch).applied


def test_weights_that_are_not_finite_at_the_start_are_bad_input() -> None:
    training = build()
    with torch.no_grad():
        training.model.outer.bias[1] = math.nan  # type: ignore[union-attr,index,operator]
    with pytest.raises(InputError, match=r"outer\.bias"):
        guard_of(training)


@pytest.mark.parametrize(("text", "number"), [("1e-4", 1e-4), ("5e3", 5e3), ("1E-4", 1e-4), ("1_000", None)])
def test_yaml_numbers_are_numbers(text: str, number: float | None, tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(f"gradient_clip: {{max_norm: {text}}}\n", encoding="utf-8")
    if number is None:
        with pytest.raises(InputError, match="max_norm"):
            load_policy(path)
        return
    clip = load_policy(path).gradient_clip
    assert clip is not None
    assert clip.max_norm == number


def test_a_trainer_in_the_working_directory_is_found_and_numbers_reach_it_as_numbers(tmp_path: Path) -> None:
    name = write_trainer(tmp_path)
    job = write_job(tmp_path, trainer=name, steps=12, log_every_steps=1, run_dir="out")
    text = job.read_text(encoding="utf-8") + "config: {learning_rate: 1e-4, width: 8}\n"
    job.write_text(text, encoding="utf-8")
    done = supervise("run", "job.yaml", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    steps = [line for line in read_lines(tmp_path / "out") if line["event"] == "step"]
    assert [line["step"] for line in steps] == list(range(12))
    assert {line["lr"] for line in steps} == {1e-4}


@pytest.mark.slow
def test_set_takes_the_same_numbers(tmp_path: Path) -> None:
    name = write_trainer(tmp_path)
    write_job(tmp_path, trainer=name, steps=3, log_every_steps=1, run_dir="out")
    arguments: list[Any] = ["--set", "config.learning_rate=5e-3", "--set", "policy.gradient_clip.max_norm=5e3"]
    done = supervise("run", "job.yaml", *arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert {line["lr"] for line in read_lines(tmp_path / "out") if line["event"] == "step"} == {5e-3}
    clip = load_policy(tmp_path / "out" / "policy.yaml").gradient_clip
    assert clip is not None
    assert clip.max_norm == 5000.0
