"""EnergyTrainer: EnergyFlow as a job that `supervisor` can look after.

Shape suffixes: B batch, Q held-out pairs, E embedding elements.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Self

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.lr_scheduler import LambdaLR

from energy_flow.averaging import weights_replaced
from energy_flow.baselines import LinearMap, fit_linear_map, mean_answer
from energy_flow.carrier import EnergyCarrier
from energy_flow.cells import CarrierCell
from energy_flow.cost import cpu_seconds
from energy_flow.echo import Echo
from energy_flow.metrics import answer_metrics
from energy_flow.model import EnergyFlow, EnergyFlowOutput
from energy_flow.optimizing import build_optimizer, weight_average
from energy_flow.pairs import BUNDLED_PAIRS, PairDataset, PairsError, load_pairs, loader, stable_seed
from energy_flow.precision import autocast, gradient_scaler
from energy_flow.split import BUNDLED, HoldOut
from energy_flow.stability import (
    OUTPUT_EXTREME,
    DeviceTally,
    Health,
    clip_each_,
    gradient_health,
    tensor_health,
)
from energy_flow.trainer_config import EnergyTrainerConfig
from energy_flow.update_ratios import ratio_metrics, warn_of_replacing_updates
from supervisor.errors import InputError

__all__ = ["EnergyTrainer"]

LOG = logging.getLogger("energy_flow")

SLOW_SECONDS = 1.0
"""Estimated seconds a step on a CPU from which the trainer says so before the first one."""

FLOOR = 0.02
"""Share of the learning rate at which the cosine schedule ends."""

LEAST_SCHEDULE_STEPS = 1500
"""Where the config says nothing, a shorter job is trained at the rates at which one of this length begins."""


class EnergyTrainer:
    """Trains EnergyFlow to predict the embedding of an answer from the embedding of its question.

    Args:
        config: validated configuration.
        seed: of the initial weights and the order of the data. The global generator is left as it is.
        steps: where the job's schedule ends, for that of the learning rate; None: not known.

    Attributes:
        model: the `EnergyFlow`, on the CPU until the caller moves it.
        optimizer: fused AdamW, unless the config says otherwise; biases and normalisation weights are not decayed.
        scheduler: linear warm-up, then a cosine, one step an applied update.
        scaler: scales the loss under `precision: float16`, else None.
        data: resumable loader of (question [B, E], answer [B, E]); one pass is an epoch.

    Raises:
        InputError: the file of pairs cannot be used.
    """

    def __init__(self, config: EnergyTrainerConfig, *, seed: int, steps: int | None = None) -> None:
        self.config = config
        self.schedule_steps = config.schedule_steps or max(steps or 0, LEAST_SCHEDULE_STEPS)
        self.seed = seed
        own = HoldOut(config.validation_pairs, config.test_pairs)
        try:
            self.pairs = load_pairs(
                Path(config.data) if config.data is not None else BUNDLED_PAIRS,
                embedding_dim=config.embedding_dim,
                hold_out=own if config.data else replace(BUNDLED, validation=config.validation_pairs),
                least_training_pairs=max(config.batch_size, 10),
            )
        except PairsError as error:
            raise InputError(str(error)) from error
        self.data = loader(
            PairDataset(self.pairs.question_NE, self.pairs.answer_NE), batch_size=config.batch_size, seed=seed
        )
        with torch.random.fork_rng(devices=[]):
            # `torch.manual_seed` would reseed the accelerators too, which the fork does not put back.
            torch.default_generator.manual_seed(seed)
            self.model = EnergyFlow(config)
        self.model.decoder.start_at(self.pairs.answer_NE.mean(dim=0))
        self.echo = Echo(
            self.pairs.question_NE,
            self.pairs.answer_NE,
            length=config.echo_length,
            hold=config.echo_hold,
            end=config.echo_end,
        )
        matrices = [parameter for parameter in self.model.parameters() if parameter.dim() > 1]
        vectors = [parameter for parameter in self.model.parameters() if parameter.dim() <= 1]
        groups: list[dict[str, Any]] = [{"params": matrices}, {"params": vectors, "weight_decay": 0.0}]
        self.optimizer = build_optimizer(
            groups, config, learning_rate=config.learning_rate, weight_decay=config.weight_decay
        )
        self.scaler = gradient_scaler(config.forward_precision)
        self._average = weight_average(self.optimizer, config)
        self.scheduler = LambdaLR(self.optimizer, self._learning_rate_factor)
        self._held_sanitized = DeviceTally()
        self._slowness_said = False

    @classmethod
    def from_config(cls, mapping: Mapping[str, object], *, seed: int, steps: int | None = None) -> Self:
        """Build the trainer from a job's `config`, for as many steps as the job has.

        Raises:
            pydantic.ValidationError: the mapping does not fit `EnergyTrainerConfig`.
            InputError: the file of pairs cannot be used.
        """
        return cls(EnergyTrainerConfig.model_validate(dict(mapping)), seed=seed, steps=steps)

    def _learning_rate_factor(self, step: int) -> float:
        warmup = min((step + 1) / (self.config.warmup_steps + 1), 1.0)
        return warmup * (FLOOR + (1.0 - FLOOR) * 0.5 * (1.0 + math.cos(math.pi * self._progress(step))))

    def _progress(self, step: int) -> float:
        return min(step / self.schedule_steps, 1.0)

    def loss(self, batch: Sequence[Tensor]) -> Tensor:
        """How wrong the answers to a batch of questions are, with gradient, 0-dimensional.

        The squared error summed over the elements, the travel term, and 1 - cosine where it has a weight. In training
        the model is to give the `Echo`'s target for the updates applied so far. Changes nothing but the state of the
        global generator (noise on questions and flows), so it may be called again to replay a step.

        Args:
            batch: questions [B, E] and answers [B, E] on the model's device.
        """
        question_BE, answer_BE = batch
        self._say_if_slow(question_BE)
        if self.model.training:
            answer_BE = self.echo.target(question_BE, answer_BE, self._progress(self.scheduler.last_epoch))
            if self.config.question_noise > 0:
                scale = self.config.question_noise / math.sqrt(question_BE.shape[1])
                question_BE = question_BE + scale * torch.randn_like(question_BE)
        output = self._forward(question_BE)
        predicted_BE = output.answer_BE
        if self.config.enable_detailed_gradient_monitoring:
            self._warn("the model's answer", Health(*tensor_health(predicted_BE, OUTPUT_EXTREME).tolist()))
        loss = (predicted_BE - answer_BE).square().sum(dim=1).mean() + self.config.travel_weight * output.shortfall
        if self.config.cosine_weight > 0:
            cosine = functional.cosine_similarity(predicted_BE, answer_BE, dim=1).mean()
            loss = loss + self.config.cosine_weight * (1.0 - cosine)
        return loss

    def _forward(self, question_BE: Tensor) -> EnergyFlowOutput:
        with autocast(question_BE.device.type, self.config.forward_precision):
            output: EnergyFlowOutput = self.model(question_BE)
        return output

    def on_gradients(self, total_norm: float | Tensor) -> None:
        """Clip the gradient of each parameter of the cell by itself, after looking at all of them if so configured.

        Args:
            total_norm: total gradient norm; reported with what is found.
        """
        if self.config.enable_detailed_gradient_monitoring:
            health = gradient_health(self.model.parameters(), self.config.extreme_value_threshold)
            warn_of_replacing_updates(self.optimizer)
            self._warn(f"the gradients (total norm {float(total_norm):.4g})", health)
        clip_each_(self.model.carrier.cell.parameters(), self.config.gru_max_gradient_norm)

    def sanitized(self) -> Tensor:
        """Values the carrier replaced in training since the last call: 0-dimensional int64 on its device."""
        self._held_sanitized.add(self.model.carrier.sanitized())
        return self._held_sanitized.take(self._device())

    def reset_module(self, name: str, module: nn.Module, generator: torch.Generator | None = None) -> bool:
        """Redraw a module by this model's own rule; False where it has none.

        Args:
            name: qualified name of the module.
            module: the module, redrawn in place when it is the carrier or its cell.
            generator: CPU generator to draw from; None: one that depends on the seed and the name alone.
        """
        if generator is None:
            generator = torch.Generator().manual_seed(stable_seed("reset", self.seed, name))
        if not isinstance(module, (EnergyCarrier, CarrierCell)):
            return False
        module.reset_parameters(generator)
        return True

    def evaluate(self, part: Literal["validation", "test"] = "validation") -> dict[str, float]:
        """Measure the model and the baselines on held-out pairs. Deterministic; draws no random numbers.

        Args:
            part: the pairs that choices are made on; or those for the last measurement, after the choices.

        Returns:
            For the model, and prefixed `mean_answer_`, `ridge_` and `rank<S>_` (the best linear map through
            as many dimensions as the surface has cells): `squared_error`, `mrr`, `top1`, `top10` as in
            `answer_metrics`. Also `arrival_fraction`, the share of flows that reach a plane by themselves;
            `candidate_pool`; `sanitized_values` and `bad_outputs` (NaN, infinite or beyond 1000) of this
            evaluation; `extreme_values` since the last one, where `log_extreme_values` is on; and where
            `enable_detailed_gradient_monitoring` is, what `ratio_metrics` gives. With `ema_decay` the averaged weights
            are measured; the ratios are of the training's own.
        """
        held_out = self.pairs.test if part == "test" else self.pairs.validation
        carrier = self.model.carrier
        self._held_sanitized.add(carrier.sanitized())
        was_training = self.model.training
        self.model.eval()
        try:
            with weights_replaced(self.model, self.averaged_weights() or {}):
                predicted_QE, arrived = self._predict(held_out[0])
        finally:
            self.model.train(was_training)
        health = Health(*tensor_health(predicted_QE, OUTPUT_EXTREME).tolist())
        self._warn("the model's held-out answers", health)
        metrics = answer_metrics(predicted_QE, held_out[1], self.config.candidate_pool)
        metrics["arrival_fraction"] = arrived
        metrics["candidate_pool"] = float(self.config.candidate_pool)
        metrics["sanitized_values"] = float(carrier.sanitized())
        metrics["bad_outputs"] = float(health.nan + health.inf + health.extreme)
        if self.config.log_extreme_values:
            extremes = int(carrier.extremes())
            metrics["extreme_values"] = float(extremes)
            self._warn("the carrier", Health(0, 0, extremes))
        if self.config.enable_detailed_gradient_monitoring:
            metrics |= ratio_metrics(self.optimizer)
        return metrics | self._baseline_metrics(*held_out)

    def averaged_weights(self) -> dict[str, Tensor] | None:
        """The averages that `evaluate` and an export take instead of the weights, by name; None without `ema_decay`."""
        return None if self._average is None else self._average.weights(self.model, self.optimizer)

    def _predict(self, question_QE: Tensor) -> tuple[Tensor, float]:
        device = self._device()
        predicted, arrived = [], []
        with torch.no_grad():
            for question_BE in torch.split(question_QE, self.config.batch_size):
                output = self._forward(question_BE.to(device))
                predicted.append(output.answer_BE)
                arrived.append(output.arrived * len(question_BE))
        total = torch.stack(arrived).sum() / len(question_QE)
        return torch.cat(predicted).cpu(), total.item()

    @cached_property
    def _linear_maps(self) -> dict[str, LinearMap]:
        pairs, rank = self.pairs, min(self.config.surface_cells, self.config.embedding_dim)
        return {
            name: fit_linear_map(pairs.question_NE, pairs.answer_NE, validation=pairs.validation, rank=dimensions)
            for name, dimensions in (("ridge", None), (f"rank{rank}", rank))
        }

    def _baseline_metrics(self, question_QE: Tensor, answer_QE: Tensor) -> dict[str, float]:
        predictions = {"mean_answer": mean_answer(self.pairs.answer_NE, len(question_QE))}
        predictions |= {name: fitted(question_QE) for name, fitted in self._linear_maps.items()}
        return {
            f"{name}_{key}": value
            for name, predicted in predictions.items()
            for key, value in answer_metrics(predicted, answer_QE, self.config.candidate_pool).items()
        }

    def _say_if_slow(self, question_BE: Tensor) -> None:
        if self._slowness_said or question_BE.device.type != "cpu":
            return
        self._slowness_said = True
        seconds = cpu_seconds(self.config, len(question_BE), torch.get_num_threads())
        if seconds >= SLOW_SECONDS:
            flows = len(question_BE) * self.config.flow_slots
            LOG.warning(
                "%d flows of %d steps, hidden size %d: about %.0f s a step on this CPU. Use a CUDA device, a smaller "
                "`batch_size` or a smaller lattice where that is too slow",
                flows,
                self.config.steps,
                self.config.carrier_hidden_size,
                seconds,
            )

    def _device(self) -> torch.device:
        return next(self.model.parameters()).device

    def _warn(self, what: str, health: Health) -> None:
        if not health.ok:
            LOG.warning("%s: %d NaN, %d infinite, %d extreme", what, health.nan, health.inf, health.extreme)
