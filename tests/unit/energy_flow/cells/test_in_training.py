"""Each cell in the whole trainer: it learns, is clipped, goes on bit for bit, is redrawn alone, and stays healthy."""

from __future__ import annotations

import copy
import itertools
import math
from pathlib import Path
from typing import get_args

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from energy_flow.config import CellName
from energy_flow.energy_trainer import EnergyTrainer
from supervisor import Guard

pytestmark = pytest.mark.parametrize("cell", get_args(CellName))

TINY = {
    **{"lattice_width": 4, "lattice_height": 4, "lattice_depth": 6, "embedding_dim": 12},
    **{"validation_pairs": 20, "candidate_pool": 10, "batch_size": 8, "warmup_steps": 4, "schedule_steps": 200},
}

cuda = pytest.param("cuda", marks=[pytest.mark.cuda, pytest.mark.skipif(not torch.cuda.is_available(), reason="CUDA")])


@pytest.fixture
def pairs_file(tmp_path: Path) -> str:
    generator = torch.Generator().manual_seed(1)
    questions = torch.nn.functional.normalize(torch.randn(120, 12, generator=generator), dim=1)
    answers = torch.nn.functional.normalize(questions @ torch.randn(12, 12, generator=generator), dim=1)
    save_file({"questions": questions, "answers": answers}, tmp_path / "pairs.safetensors")
    return str(tmp_path / "pairs.safetensors")


def tiny(pairs_file: str, cell: CellName, **config: object) -> EnergyTrainer:
    return EnergyTrainer.from_config({**TINY, "data": pairs_file, "carrier_cell": cell, **config}, seed=7)


def train(trainer: EnergyTrainer, steps: int) -> list[float]:
    losses = []
    for batch in itertools.islice(itertools.chain.from_iterable(itertools.repeat(trainer.data)), steps):
        trainer.optimizer.zero_grad()
        loss = trainer.loss(batch)
        loss.backward()
        trainer.on_gradients(1.0)
        trainer.optimizer.step()
        trainer.scheduler.step()
        losses.append(loss.item())
    return losses


def test_it_learns(pairs_file: str, cell: CellName) -> None:
    trainer = tiny(pairs_file, cell, learning_rate=5e-3, question_noise=0.0)
    losses = train(trainer, 60)
    assert sum(losses[-10:]) < 0.9 * sum(losses[:10])
    assert trainer.sanitized().item() == 0


def test_it_goes_on_bit_for_bit_from_a_saved_state(pairs_file: str, cell: CellName, tmp_path: Path) -> None:
    unbroken, parts = tiny(pairs_file, cell), ("model", "optimizer", "scheduler")
    train(unbroken, 3)
    torch.save({part: getattr(unbroken, part).state_dict() for part in parts}, tmp_path / "state.pt")
    resumed = tiny(pairs_file, cell)
    for part, state in torch.load(tmp_path / "state.pt", weights_only=True).items():
        getattr(resumed, part).load_state_dict(state)
    losses = []
    for trainer in (unbroken, resumed):
        trainer.data.load_state_dict(tiny(pairs_file, cell).data.state_dict())
        torch.manual_seed(5)
        losses.append(train(trainer, 4))
    assert losses[0] == losses[1]
    assert all(torch.equal(a, b) for a, b in zip(unbroken.model.parameters(), resumed.model.parameters(), strict=True))


def test_its_gradients_are_clipped_one_by_one_and_others_left(pairs_file: str, cell: CellName) -> None:
    trainer = tiny(pairs_file, cell, gru_max_gradient_norm=0.5)
    for parameter in trainer.model.parameters():
        parameter.grad = torch.ones_like(parameter)
    trainer.on_gradients(1.0)
    for name, parameter in trainer.model.named_parameters():
        assert parameter.grad is not None
        expected = 0.5 if name.startswith(f"carrier.{cell}.") else math.sqrt(parameter.numel())
        assert parameter.grad.norm().item() == pytest.approx(expected, rel=1e-5), name


def test_a_redraw_is_of_the_cell_alone_and_leaves_the_global_generator(pairs_file: str, cell: CellName) -> None:
    trainer = tiny(pairs_file, cell)
    train(trainer, 3)
    generator, before = torch.get_rng_state(), copy.deepcopy(trainer.model.state_dict())
    drawn = []
    for _ in range(2):
        assert trainer.reset_module(f"carrier.{cell}", trainer.model.carrier.cell)
        drawn.append(copy.deepcopy(trainer.model.state_dict()))
    assert torch.equal(torch.get_rng_state(), generator)
    for name, value in drawn[0].items():
        assert torch.equal(value, before[name]) is not name.startswith(f"carrier.{cell}."), name
        assert torch.equal(value, drawn[1][name]), name


def test_the_ladder_finds_it_and_redraws_it_with_its_moments(pairs_file: str, cell: CellName) -> None:
    trainer = tiny(pairs_file, cell)
    policy = {
        "ladder": [{"action": "reinitialize"}, {"action": "halt"}],
        "reactions": {"nonfinite_gradient": "reinitialize"},
    }
    guard = Guard(
        model=trainer.model,
        optimizer=trainer.optimizer,
        scheduler=trainer.scheduler,
        loss=trainer.loss,
        reset_module=trainer.reset_module,
        policy=policy,
    )
    for batch in itertools.islice(trainer.data, 3):
        assert guard.step(batch).applied
    weight = trainer.model.carrier.cell.get_parameter("weight_ih_l0")
    handle = weight.register_hook(lambda gradient: gradient * math.nan)
    assert guard.step(next(iter(trainer.data))).action == "reinitialize"
    handle.remove()
    held = trainer.optimizer.state
    for name, parameter in trainer.model.named_parameters():
        if name.startswith(f"carrier.{cell}."):
            assert parameter not in held, name
    assert guard.step(next(iter(trainer.data))).applied
    assert all(parameter.isfinite().all() for parameter in trainer.model.parameters())


@pytest.mark.parametrize("device", ["cpu", cuda])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_healthy_run_in_half_precision_has_no_incident(
    pairs_file: str, cell: CellName, dtype: torch.dtype, device: str
) -> None:
    trainer = tiny(pairs_file, cell)
    trainer.model.to(device)
    scaler = torch.amp.GradScaler(device, init_scale=1024.0) if dtype == torch.float16 else None

    def loss(batch: list[Tensor]) -> Tensor:
        with torch.autocast(device, dtype):
            return trainer.loss([part.to(device) for part in batch])

    guard = Guard(
        model=trainer.model,
        optimizer=trainer.optimizer,
        scheduler=trainer.scheduler,
        loss=loss,
        data=trainer.data,
        scaler=scaler,
        on_gradients=trainer.on_gradients,
        sanitized=trainer.sanitized,
    )
    summary = guard.run(steps=50)
    assert (summary.status, summary.incidents, summary.applied_steps) == ("finished", 0, 50)
    assert math.isfinite(summary.final_loss)
