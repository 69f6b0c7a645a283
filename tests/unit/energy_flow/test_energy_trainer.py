from __future__ import annotations

import copy
import itertools
import logging
import math
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import save_file
from torch import Tensor, nn

from energy_flow.energy_trainer import EnergyTrainer
from supervisor.errors import InputError

TINY = {
    "lattice_width": 4,
    "lattice_height": 4,
    "lattice_depth": 4,
    "embedding_dim": 12,
    "validation_pairs": 20,
    "candidate_pool": 10,
    "batch_size": 8,
    "warmup_steps": 4,
    "schedule_steps": 40,
}


@pytest.fixture
def pairs_file(tmp_path: Path) -> str:
    generator = torch.Generator().manual_seed(1)
    questions = torch.randn(120, 12, generator=generator)
    answers = questions @ torch.randn(12, 12, generator=generator)
    save_file({"questions": questions, "answers": answers}, tmp_path / "pairs.safetensors")
    return str(tmp_path / "pairs.safetensors")


def tiny(pairs_file: str, *, seed: int = 7, **config: object) -> EnergyTrainer:
    return EnergyTrainer.from_config({**TINY, "data": pairs_file, **config}, seed=seed)


def advance(trainer: EnergyTrainer, batch: Sequence[Tensor]) -> float:
    loss = trainer.loss(batch)
    loss.backward()
    gradients = [parameter.grad for parameter in trainer.model.parameters() if parameter.grad is not None]
    trainer.on_gradients(torch.nn.utils.get_total_norm(gradients))
    trainer.optimizer.step()
    trainer.optimizer.zero_grad()
    trainer.scheduler.step()
    return loss.item()


def train(trainer: EnergyTrainer, steps: int) -> list[float]:
    epochs = itertools.chain.from_iterable(itertools.repeat(trainer.data))
    return [advance(trainer, batch) for batch in itertools.islice(epochs, steps)]


def weights(trainer: EnergyTrainer) -> list[Tensor]:
    return [parameter.detach().clone() for parameter in trainer.model.parameters()]


def same(first: list[Tensor], second: list[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_the_default_job_starts_with_a_finite_loss_on_the_bundled_pairs() -> None:
    trainer = EnergyTrainer.from_config({"lattice_width": 8, "lattice_height": 8, "lattice_depth": 8}, seed=7)
    losses = train(trainer, 12)
    assert all(map(math.isfinite, losses))
    assert sum(losses[-3:]) < sum(losses[:3])
    assert trainer.sanitized().item() == 0


def test_training_lowers_the_loss_and_beats_the_mean_answer(pairs_file: str) -> None:
    trainer = tiny(pairs_file, learning_rate=5e-3, schedule_steps=400, question_noise=0.0)
    losses = train(trainer, 400)
    metrics = trainer.evaluate()
    assert sum(losses[-20:]) < 0.7 * sum(losses[:20])
    assert metrics["squared_error"] < metrics["mean_answer_squared_error"]
    assert metrics["mrr"] > metrics["mean_answer_mrr"]
    assert metrics["arrival_fraction"] >= 0.5


def test_two_runs_with_one_seed_end_bit_for_bit_alike(pairs_file: str) -> None:
    runs = []
    for _ in range(2):
        trainer = tiny(pairs_file)
        torch.manual_seed(3)
        losses = train(trainer, 20)
        runs.append((losses, weights(trainer)))
    assert runs[0][0] == runs[1][0]
    assert same(runs[0][1], runs[1][1])


def test_training_goes_on_bit_for_bit_from_a_saved_state(pairs_file: str, tmp_path: Path) -> None:
    unbroken, saved = tiny(pairs_file), tmp_path / "state.pt"
    parts = ("model", "optimizer", "scheduler", "data")
    running = iter(unbroken.data)
    for batch in itertools.islice(running, 5):
        advance(unbroken, batch)
    torch.save({part: getattr(unbroken, part).state_dict() for part in parts}, saved)
    generator = torch.get_rng_state()
    losses = [advance(unbroken, batch) for batch in running] + train(unbroken, 4)

    resumed = tiny(pairs_file)
    for part, state in torch.load(saved, weights_only=True).items():
        getattr(resumed, part).load_state_dict(state)
    torch.set_rng_state(generator)
    assert train(resumed, len(losses)) == losses
    assert same(weights(resumed), weights(unbroken))


def test_seeds_differ_and_building_leaves_the_global_generator_alone(pairs_file: str) -> None:
    before = torch.get_rng_state()
    first, again, other = tiny(pairs_file), tiny(pairs_file), tiny(pairs_file, seed=8)
    assert torch.equal(torch.get_rng_state(), before)
    assert same(weights(first), weights(again))
    assert not same(weights(first), weights(other))


def test_loss_can_be_replayed(pairs_file: str) -> None:
    trainer = tiny(pairs_file)
    state, generator = copy.deepcopy(trainer.model.state_dict()), torch.get_rng_state()
    batch = next(iter(trainer.data))
    first = trainer.loss(batch)
    torch.set_rng_state(generator)
    assert torch.equal(trainer.loss(batch), first)
    assert first.dim() == 0
    assert first.requires_grad
    assert all(torch.equal(value, state[name]) for name, value in trainer.model.state_dict().items())


def test_the_loss_is_made_of_cosine_squared_error_and_travel(pairs_file: str) -> None:
    trainer = tiny(pairs_file, travel_weight=0.25, cosine_weight=0.5, outward_travel=0.4)
    trainer.model.eval()
    question, answer = next(iter(trainer.data))
    output = trainer.model(question)
    cosine = torch.nn.functional.cosine_similarity(output.answer_BE, answer, dim=1)
    squared = ((output.answer_BE - answer) ** 2).sum(dim=1)
    assert output.shortfall.item() > 0.1
    expected = (0.5 * (1 - cosine) + squared).mean() + 0.25 * output.shortfall
    torch.testing.assert_close(trainer.loss((question, answer)), expected)


def test_training_begins_with_the_echo_of_the_question_and_ends_with_the_answer(pairs_file: str) -> None:
    trainer = tiny(
        pairs_file, question_noise=0.0, exploration_noise=0.0, schedule_steps=10, echo_hold=0.2, echo_end=0.5
    )
    question, answer = next(iter(trainer.data))
    broken = torch.full_like(answer, torch.nan)
    blind = []
    for _ in range(10):
        repeats = trainer.echo.target(question, answer, trainer.scheduler.last_epoch / 10)
        assert trainer.loss((question, answer)).item() == pytest.approx(
            _plain_loss(trainer, question, repeats), rel=1e-5
        )
        blind.append(bool(trainer.loss((question, broken)).isnan()))
        trainer.optimizer.step()
        trainer.scheduler.step()
    assert blind[-5:] == [True] * 5
    assert torch.equal(repeats, answer)


def _plain_loss(trainer: EnergyTrainer, question: Tensor, target: Tensor) -> float:
    trainer.model.eval()
    loss = trainer.loss((question, target)).item()
    trainer.model.train()
    return loss


def test_the_test_part_is_measured_only_where_asked_for(pairs_file: str) -> None:
    trainer = tiny(pairs_file, test_pairs=20)
    validation, test = trainer.evaluate(), trainer.evaluate("test")
    assert validation.keys() == test.keys()
    assert validation["ridge_squared_error"] != test["ridge_squared_error"]
    before = [answer.clone() for _, answer in (trainer.pairs.validation, trainer.pairs.test)]
    trainer.pairs.test[1].zero_()
    assert trainer.evaluate() == validation
    assert torch.equal(trainer.pairs.validation[1], before[0])


@pytest.mark.parametrize(("hidden", "said"), [(32, 0), pytest.param(2048, 1, marks=pytest.mark.slow)])
def test_a_model_that_takes_seconds_a_step_on_a_cpu_says_so_once_before_the_first(
    pairs_file: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, hidden: int, said: int
) -> None:
    trainer = tiny(pairs_file, carrier_hidden_size=hidden, carrier_layers=4)
    batch = next(iter(trainer.data))
    slow = [record for record in caplog.records if "a step on this CPU" in record.message]
    assert slow == []
    with monkeypatch.context() as patched:
        patched.setattr(trainer, "_forward", lambda _: (_ for _ in ()).throw(RuntimeError("forward")))
        for _ in range(2):
            with pytest.raises(RuntimeError, match="forward"):
                trainer.loss(batch)
    slow = [record for record in caplog.records if "a step on this CPU" in record.message]
    assert len(slow) == said


def test_evaluation_is_repeatable_and_leaves_no_trace(pairs_file: str) -> None:
    trainer = tiny(pairs_file)
    train(trainer, 5)
    with torch.no_grad():
        trainer.loss((torch.full((2, 12), torch.nan), torch.ones(2, 12)))
    generator, before = torch.get_rng_state(), weights(trainer)
    first = trainer.evaluate()
    assert trainer.evaluate() == first
    assert trainer.model.training
    assert torch.equal(torch.get_rng_state(), generator)
    assert same(weights(trainer), before)
    assert first["sanitized_values"] == 0, "what training replaced is no part of an evaluation"
    assert trainer.sanitized().item() > 0, "an evaluation must not swallow what training replaced"
    assert trainer.sanitized().item() == 0


def test_evaluation_reports_the_model_beside_its_baselines(pairs_file: str) -> None:
    metrics = tiny(pairs_file).evaluate()
    for prefix in ("", "mean_answer_", "ridge_", "rank12_"):
        for name in ("squared_error", "mrr", "top1", "top10"):
            assert math.isfinite(metrics[prefix + name])
    assert all(type(value) is float for value in metrics.values())
    assert metrics["candidate_pool"] == 10
    assert metrics["ridge_squared_error"] < metrics["mean_answer_squared_error"]


def test_a_ruined_model_evaluates_badly_and_says_so(pairs_file: str, caplog: pytest.LogCaptureFixture) -> None:
    trainer = tiny(pairs_file)
    with torch.no_grad():
        trainer.model.decoder.layers[-1].weight.fill_(torch.nan)
    with caplog.at_level(logging.WARNING, "energy_flow"):
        metrics = trainer.evaluate()
    assert metrics["mrr"] == pytest.approx(1 / 10)
    assert metrics["bad_outputs"] == 20 * 12
    assert "240 NaN" in caplog.text


def test_gru_gradients_are_clipped_one_by_one_and_others_left(pairs_file: str) -> None:
    trainer = tiny(pairs_file, gru_max_gradient_norm=0.5)
    for parameter in trainer.model.parameters():
        parameter.grad = torch.ones_like(parameter)
    trainer.on_gradients(1.0)
    for name, parameter in trainer.model.named_parameters():
        assert parameter.grad is not None
        expected = 0.5 if ".gru." in name else math.sqrt(parameter.numel())
        assert parameter.grad.norm().item() == pytest.approx(expected, rel=1e-5), name


@pytest.mark.parametrize("watching", [True, False])
def test_gradients_are_looked_at_before_they_are_clipped_where_asked_for(
    pairs_file: str, caplog: pytest.LogCaptureFixture, watching: bool
) -> None:
    trainer = tiny(pairs_file, enable_detailed_gradient_monitoring=watching)
    for parameter in trainer.model.carrier.gru.parameters():
        parameter.grad = torch.zeros_like(parameter)
    trainer.model.carrier.gru.weight_hh_l0.grad[0, 0] = 500.0
    with caplog.at_level(logging.WARNING, "energy_flow"):
        trainer.on_gradients(500.0)
    assert ("1 extreme" in caplog.text) is watching
    assert trainer.model.carrier.gru.weight_hh_l0.grad[0, 0].item() == pytest.approx(1.0)


@pytest.mark.parametrize(("rate", "told"), [(1e-3, False), (5.0, True)])
def test_an_update_that_replaces_its_matrix_is_logged_where_asked_for(
    pairs_file: str, caplog: pytest.LogCaptureFixture, rate: float, told: bool
) -> None:
    trainer = tiny(pairs_file, enable_detailed_gradient_monitoring=True, learning_rate=rate, warmup_steps=0)
    with caplog.at_level(logging.WARNING, "energy_flow"):
        train(trainer, 2)
    assert ("times as long as the matrix" in caplog.text) is told


def test_a_bad_answer_is_logged_in_training_where_asked_for(pairs_file: str, caplog: pytest.LogCaptureFixture) -> None:
    trainer = tiny(pairs_file, enable_detailed_gradient_monitoring=True)
    with torch.no_grad():
        trainer.model.decoder.layers[-1].bias[0] = 1e6
    with caplog.at_level(logging.WARNING, "energy_flow"):
        trainer.loss(next(iter(trainer.data)))
    assert "8 extreme" in caplog.text


def test_a_nan_in_a_question_is_counted_and_not_silent(pairs_file: str) -> None:
    trainer = tiny(pairs_file)
    question, answer = next(iter(trainer.data))
    question = question.clone()
    question[0, 0] = torch.nan
    trainer.loss((question, answer))
    assert trainer.sanitized().item() > 0


def test_resetting_redraws_the_gru_by_the_stable_rule_alone(pairs_file: str) -> None:
    trainer = tiny(pairs_file)
    train(trainer, 3)
    generator, before = torch.get_rng_state(), copy.deepcopy(trainer.model.state_dict())
    assert trainer.reset_module("carrier.gru", trainer.model.carrier.gru)
    assert torch.equal(torch.get_rng_state(), generator)
    for name, value in trainer.model.state_dict().items():
        assert torch.equal(value, before[name]) is not name.startswith("carrier.gru."), name
    assert trainer.model.carrier.gru.bias_hh_l0[32:64].tolist() == [1.0] * 32
    assert trainer.reset_module("carrier", trainer.model.carrier)
    assert not trainer.reset_module("decoder.layers.0", trainer.model.decoder.layers[0])
    assert not trainer.reset_module("some.lstm", nn.LSTM(2, 2))


def test_learning_rate_warms_up_then_comes_down_to_its_floor(pairs_file: str) -> None:
    trainer = tiny(pairs_file, learning_rate=1.0, warmup_steps=4, schedule_steps=40)
    rates = []
    for _ in range(60):
        rates.append(trainer.optimizer.param_groups[0]["lr"])
        trainer.optimizer.step()
        trainer.scheduler.step()
    peak = rates.index(max(rates))
    assert peak == 4
    assert rates[:5] == sorted(rates[:5])
    assert rates[4:41] == sorted(rates[4:41], reverse=True)
    assert rates[40:] == pytest.approx([0.02] * 20)


@pytest.mark.parametrize(
    ("steps", "written", "expected"), [(None, None, 1500), (400, None, 1500), (1600, None, 1600), (1600, 40, 40)]
)
def test_the_schedule_is_as_long_as_a_long_job_unless_the_config_says(
    pairs_file: str, steps: int | None, written: int | None, expected: int
) -> None:
    config = {**TINY, "data": pairs_file, "schedule_steps": written}
    assert EnergyTrainer.from_config(config, seed=0, steps=steps).schedule_steps == expected


@pytest.mark.parametrize(
    "half", [{"autocast_bfloat16": True}, {"precision": "bfloat16"}, {"precision": "float16"}], ids=str
)
def test_half_precision_runs_and_keeps_positions_in_full_precision(pairs_file: str, half: dict[str, object]) -> None:
    trainer, whole = tiny(pairs_file, **half), tiny(pairs_file)
    batch = next(iter(trainer.data))
    losses = []
    for each in (trainer, whole):
        torch.manual_seed(0)
        losses.append(each.loss(batch))
    losses[0].backward()
    assert losses[0].dtype == torch.float32
    assert not torch.equal(*losses)
    assert losses[0].item() == pytest.approx(losses[1].item(), rel=0.02)
    assert trainer.model.carrier.gru.weight_ih_l0.grad is not None
    assert trainer.evaluate()["bad_outputs"] == 0


def test_an_evaluation_measures_the_averaged_weights_and_leaves_the_others(pairs_file: str) -> None:
    trainer, plain = tiny(pairs_file, ema_decay=0.9), tiny(pairs_file)
    for each in (trainer, plain):
        torch.manual_seed(0)
        train(each, 20)
    assert same(weights(trainer), weights(plain))
    averages = trainer.averaged_weights()
    assert averages is not None
    assert averages.keys() == dict(trainer.model.named_parameters()).keys()
    metrics = trainer.evaluate()
    assert same(weights(trainer), weights(plain))
    assert metrics["squared_error"] != plain.evaluate()["squared_error"]
    with torch.no_grad():
        for name, parameter in plain.model.named_parameters():
            parameter.copy_(averages[name])
    assert plain.evaluate() == metrics
    assert plain.averaged_weights() is None


def test_the_monitor_tells_how_noisy_gradients_are_and_how_far_updates_go(pairs_file: str) -> None:
    trainer = tiny(pairs_file, enable_detailed_gradient_monitoring=True)
    assert "gradient_noise_to_signal" not in trainer.evaluate(), "before the first update there is nothing to tell"
    train(trainer, 5)
    metrics = trainer.evaluate()
    assert metrics["gradient_noise_to_signal"] > 0
    assert 0 < metrics["update_to_weight_median"] < metrics["update_to_weight_largest"] < 1
    assert trainer.evaluate() == metrics
    assert "gradient_noise_to_signal" not in tiny(pairs_file).evaluate()


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_same_trainer_runs_on_an_accelerator(pairs_file: str) -> None:
    trainer = tiny(pairs_file, spawn_movement_threshold=0.1)
    trainer.model.to("cuda")
    batch = [part.cuda() for part in next(iter(trainer.data))]
    trainer.model.eval()
    torch.cuda.set_sync_debug_mode("error")
    try:
        loss = trainer.loss(batch)
        loss.backward()
        trainer.on_gradients(loss.detach())
        count = trainer.sanitized()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert loss.isfinite()
    assert count.device.type == "cuda"
    assert math.isfinite(trainer.evaluate()["mrr"])
    assert trainer.reset_module("carrier", trainer.model.carrier)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_half_precision_runs_on_an_accelerator(pairs_file: str, precision: str) -> None:
    trainer = tiny(pairs_file, precision=precision, ema_decay=0.9)
    trainer.model.to("cuda")
    batch = [part.cuda() for part in next(iter(trainer.data))]
    for _ in range(8):
        trainer.optimizer.zero_grad()
        loss = trainer.loss(batch)
        if trainer.scaler is None:
            loss.backward()
            trainer.optimizer.step()
        else:
            trainer.scaler.scale(loss).backward()
            trainer.scaler.step(trainer.optimizer)
            trainer.scaler.update()
    assert all(parameter.isfinite().all() for parameter in trainer.model.parameters())
    assert trainer.evaluate()["bad_outputs"] == 0


@pytest.mark.parametrize("name", ["missing.safetensors", "."])
def test_unusable_data_is_bad_input_and_names_the_file(tmp_path: Path, name: str) -> None:
    path = str(tmp_path / name)
    with pytest.raises(InputError, match=r"write the path|cannot be read") as caught:
        tiny(path)
    assert str(Path(path)) in str(caught.value)


def test_a_wrong_embedding_size_is_bad_input(pairs_file: str) -> None:
    with pytest.raises(InputError, match="write `embedding_dim: 12`"):
        tiny(pairs_file, embedding_dim=10)


@pytest.mark.parametrize("wrong", [{"learning_rate": "fast"}, {"learing_rate": 1e-3}, {"batch_size": 0}])
def test_a_wrong_config_comes_out_as_pydantic_says_it(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        EnergyTrainer.from_config(wrong, seed=0)
