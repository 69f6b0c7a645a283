"""Each option of stability under the guard: unseen when healthy, and without a trace of what was discarded."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from support.exact import assert_finite, assert_same, everything, seed_all
from support.training import EventList, quiet
from torch import Tensor

from energy_flow.averaging import AVERAGE
from energy_flow.clipping import ADAGC, HISTORY, ZCLIP
from energy_flow.energy_trainer import EnergyTrainer
from supervisor import Guard
from supervisor.training.state import Subject

TINY = {
    "lattice_width": 4,
    "lattice_height": 4,
    "lattice_depth": 4,
    "embedding_dim": 12,
    "validation_pairs": 20,
    "candidate_pool": 10,
    "batch_size": 8,
    "warmup_steps": 2,
    "schedule_steps": 40,
}

OPTIONS: dict[str, dict[str, Any]] = {
    "bfloat16": {"precision": "bfloat16"},
    "float16": {"precision": "float16"},
    "adagc": {"gradient_clipping": "adagc", "clipping_warmup_updates": 5},
    "zclip": {"gradient_clipping": "zclip", "clipping_warmup_updates": 5},
    "stable_adamw": {"optimizer": "stable_adamw"},
    "average": {"ema_decay": 0.9},
    "all": {
        "precision": "float16",
        "gradient_clipping": "adagc",
        "clipping_warmup_updates": 5,
        "optimizer": "stable_adamw",
        "ema_decay": 0.9,
    },
    # Torch's fused optimizer, which is called on the overflows of a scaler too.
    "fused": {"precision": "float16", "gradient_clipping": "adagc", "clipping_warmup_updates": 5, "ema_decay": 0.9},
    **{
        f"{cell}-{precision}": {"carrier_cell": cell, "precision": precision}
        for cell, precision in [("mingru", "float16"), ("layer_norm_gru", "bfloat16"), ("lru", "float16")]
    },
}

STEPS = 16
POLICY = quiet(snapshot={"every_steps": 4}, checkpoint={"every_steps": 4}, probation_steps=2, cooldown_steps=3)

Build = Callable[[], EnergyTrainer]
Batch = Sequence[Tensor]


@pytest.fixture
def pairs(tmp_path: Path) -> str:
    generator = torch.Generator().manual_seed(1)
    questions = torch.randn(120, 12, generator=generator)
    answers = questions @ torch.randn(12, 12, generator=generator)
    save_file({"questions": questions, "answers": answers}, tmp_path / "pairs.safetensors")
    return str(tmp_path / "pairs.safetensors")


@pytest.fixture(params=OPTIONS)
def build(pairs: str, request: pytest.FixtureRequest) -> Build:
    return lambda: built(pairs, **OPTIONS[request.param])


def built(pairs: str, **options: Any) -> EnergyTrainer:
    seed_all(3)
    return EnergyTrainer.from_config({**TINY, "data": pairs, **options}, seed=3)


def batches(trainer: EnergyTrainer, count: int) -> list[Batch]:
    epochs = itertools.chain.from_iterable(itertools.repeat(trainer.data))
    return list(itertools.islice(epochs, count))


def nan_batch(batch: Batch) -> Batch:
    """No row of it is sound, so that none comes again; nor is the loss, which is no calibration of a scaler."""
    return torch.full_like(batch[0], torch.nan), torch.full_like(batch[1], torch.nan)


def guard_of(trainer: EnergyTrainer, data: list[Batch], **options: Any) -> Guard:
    return Guard(
        model=trainer.model,
        optimizer=trainer.optimizer,
        data=data,
        scheduler=trainer.scheduler,
        scaler=trainer.scaler,
        on_gradients=trainer.on_gradients,
        sanitized=trainer.sanitized,
        quiet=True,
        **{"loss": trainer.loss, "policy": POLICY, **options},
    )


def state_of(trainer: EnergyTrainer) -> dict[str, Any]:
    trainer.extra_state = {}  # type: ignore[attr-defined]
    return everything(trainer)


def bare(trainer: EnergyTrainer, data: list[Batch], *, without: int | None = None) -> tuple[dict[str, Any], int]:
    """A loop without a guard, and how many updates its scaler skipped.

    Args:
        trainer: what is trained.
        data: its batches.
        without: index of a batch that is left out. A scaler alone hears of it, and backs off.
    """
    scaler, skipped = trainer.scaler, 0
    for index, batch in enumerate(data):
        trainer.optimizer.zero_grad()
        if index == without and scaler is None:
            continue
        generator = torch.get_rng_state()
        loss = trainer.loss(batch)
        if scaler is None:
            loss.backward()
            trainer.on_gradients(0.0)
            trainer.optimizer.step()
        else:
            scaler.scale(loss).backward()
            scaler.unscale_(trainer.optimizer)
            if index == without:
                torch.set_rng_state(generator)
            else:
                trainer.on_gradients(0.0)
            before = scaler.get_scale()
            scaler.step(trainer.optimizer)
            scaler.update()
            trainer.sanitized()
            if scaler.get_scale() < before:
                # As the guard does: a batch that the scaler skipped was never seen.
                torch.set_rng_state(generator)
                skipped += 1
                continue
        trainer.scheduler.step()
    return state_of(trainer), skipped


def test_a_healthy_run_has_no_incident_and_is_bit_for_bit_the_one_without_a_guard(build: Build) -> None:
    data = batches(build(), STEPS)
    expected, skipped = bare(build(), data)
    trainer, heard = build(), EventList()
    summary = guard_of(trainer, data, listeners=[heard]).run(STEPS)
    assert skipped <= 2, "a scaler looks for its scale"
    assert (summary.applied_steps, summary.incidents, heard.actions()) == (STEPS - skipped, 0, [])
    assert_same(state_of(trainer), expected)
    assert_finite(trainer)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", OPTIONS)
def test_a_healthy_run_on_an_accelerator_has_no_incident(pairs: str, name: str) -> None:
    trainer, heard = built(pairs, **OPTIONS[name]), EventList()
    trainer.model.to("cuda")
    data = [[part.cuda() for part in batch] for batch in batches(trainer, STEPS)]
    summary = guard_of(trainer, data, listeners=[heard]).run(STEPS)
    assert (summary.incidents, heard.actions()) == (0, [])
    assert summary.applied_steps >= STEPS - 2, "a scaler looks for its scale"
    assert_finite(trainer)


@pytest.mark.parametrize("at", [0, 3, 10])
def test_a_skipped_batch_was_never_seen(build: Build, at: int) -> None:
    """Before the first update, while clipping warms up, and after."""
    data = batches(build(), STEPS)
    data[at] = nan_batch(data[at])
    expected, _ = bare(build(), data, without=at)
    trainer = build()
    summary = guard_of(trainer, data).run(STEPS)
    assert summary.incidents == 1
    assert_finite(trainer)
    assert_same(state_of(trainer), expected)


def test_a_resumed_run_ends_as_the_unbroken_one(build: Build, tmp_path: Path) -> None:
    data = batches(build(), STEPS)
    data[6] = nan_batch(data[6])
    unbroken = build()
    guard_of(unbroken, data).run(STEPS)
    guard = guard_of(build(), data, run_dir=tmp_path / "run")
    # Left as a kill leaves it: the newest checkpoint is that of step 8.
    for batch in guard.batches(STEPS):
        guard.step(batch)
        if guard.steps_done == 10:
            break
    guard.close()
    resumed = build()
    torch.manual_seed(99)
    guard = guard_of(resumed, data, run_dir=tmp_path / "run", resume=True)
    assert guard.steps_done == 8
    guard.run(STEPS)
    assert_same(state_of(resumed), state_of(unbroken))


def test_a_reload_puts_the_state_of_the_options_back(build: Build) -> None:
    """The weights are spoilt after step 9; the good state that is gone on from has all that it had."""
    data, trainer = batches(build(), STEPS), build()
    heard, states = EventList(), dict[int, Any]()

    def loss(batch: Batch) -> Tensor:
        steps = guard.steps_done
        states.setdefault(steps, state_of(trainer))
        if steps == 9 and not heard.actions():
            with torch.no_grad():
                trainer.model.decoder.layers[0].weight[0, 0] = torch.nan
        return trainer.loss(batch)

    guard = guard_of(trainer, data, loss=loss, listeners=[heard])
    for batch in guard.batches(STEPS):
        if guard.step(batch).action is not None:
            break
    assert heard.actions() == ["reload_checkpoint"]
    assert_same(state_of(trainer), states[guard.steps_done], but=("rng",))


@pytest.mark.parametrize(("name", "key"), [("adagc", ADAGC), ("average", AVERAGE), ("stable_adamw", "exp_avg_sq")])
def test_a_nan_in_the_state_of_an_option_is_found(pairs: str, name: str, key: str) -> None:
    trainer, heard = built(pairs, **OPTIONS[name]), EventList()
    guard = guard_of(trainer, batches(trainer, STEPS), listeners=[heard])
    for batch in guard.batches(STEPS):
        guard.step(batch)
        if guard.steps_done == 9 and not heard.actions():
            trainer.optimizer.state[trainer.model.decoder.layers[0].weight][key].view(-1)[0] = torch.nan
    assert heard.actions() == ["reload_checkpoint"]
    assert_finite(trainer)


def test_a_nan_in_the_history_of_all_gradients_is_found(pairs: str) -> None:
    trainer, heard = built(pairs, **OPTIONS["zclip"]), EventList()
    state: Any = trainer.optimizer.state
    guard = guard_of(trainer, batches(trainer, STEPS), listeners=[heard])
    for batch in guard.batches(STEPS):
        guard.step(batch)
        if guard.steps_done == 9 and not heard.actions():
            state[ZCLIP][HISTORY][1] = torch.nan
    assert heard.actions() == ["reload_checkpoint"]
    assert state[ZCLIP][HISTORY].isfinite().all()


def test_a_checkpoint_without_the_options_fits_the_default(pairs: str) -> None:
    """The default keeps nothing that it did not keep before there were options."""
    trainer = built(pairs)
    assert trainer.scaler is None
    assert trainer.averaged_weights() is None
    bare(trainer, batches(trainer, 2))
    names = {parameter: name for name, parameter in trainer.model.named_parameters()}
    subject = Subject(trainer.model, trainer.optimizer, trainer.scheduler, trainer.scaler, {}, names)
    held = subject.capture().optimizer["state"].values()
    assert {key for each in held for key in each} == {"step", "exp_avg", "exp_avg_sq"}
