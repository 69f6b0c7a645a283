"""What each cell bears: extreme inputs, long journeys, and a training from weights that are far too large."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks.cell_study.common import CELLS, TIMES, Plan, fresh_model, job_config, number, scale, table
from benchmarks.cell_study.cost import kept_for_backward
from energy_flow.config import CellName
from energy_flow.energy_trainer import EnergyTrainer
from energy_flow.model import EnergyFlow
from supervisor import Guard

__all__ = ["extremes", "large_weights", "long_flows"]


def _with(value: float) -> Callable[[Tensor], Tensor]:
    def spoilt(values_FP: Tensor) -> Tensor:
        values_FP[0, 0] = value
        return values_FP

    return spoilt


INPUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "× 1e-30": lambda values_FP: values_FP * 1e-30,
    "× 1e4": lambda values_FP: values_FP * 1e4,
    "× 1e30": lambda values_FP: values_FP * 1e30,
    "one NaN": _with(math.nan),
    "one infinity": _with(math.inf),
}
"""What becomes of the neuron's output before the carrier reads it."""

LONG = ((8, 8, 40), (16, 16, 40))
"""Width, height and depth. The system before this one had infinite gradients at 8×8×20 and NaN at 16×16×40."""


def _gradient_norm(model: EnergyFlow, question_BE: Tensor) -> float:
    """Of all gradients of the answers' squared sum."""
    model(question_BE).answer_BE.square().sum().backward()
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    return float(torch.nn.utils.get_total_norm(gradients))


def extremes(plan: Plan) -> list[str]:
    """The table of extreme inputs."""
    rows = []
    for name in CELLS:
        told = []
        for spoilt in INPUTS.values():
            ends = [_borne(name, seed, spoilt) for seed in range(plan.seeds)]
            replaced = sum(count for _, count in ends)
            finite = f"{sum(each for each, _ in ends)} of {plan.seeds}"
            told.append(finite + (f", {replaced} replaced" if replaced else ""))
        rows.append((name, *told))
    return [
        "**Extreme inputs** to the carrier, 10 steps of 16 flows: in how many of the seeds all outputs and all "
        "gradients were finite, and how many values the guards around the cell replaced, which is counted and told.",
        "",
        *table(("cell", *INPUTS), rows),
    ]


def _borne(name: CellName, seed: int, spoilt: Callable[[Tensor], Tensor]) -> tuple[bool, int]:
    """Whether outputs and gradients are finite, and how many values were replaced."""
    carrier = fresh_model(name, seed).carrier
    width, part = carrier.config.neuron_output_dim, carrier.config.embedding_part_dim
    hidden, total = None, torch.zeros(())
    for _ in range(10):
        output_F4, hidden = carrier(spoilt(torch.randn(16, width)), torch.randn(16, part), hidden)
        total = total + output_F4.square().sum()
    total.backward()  # type: ignore[no-untyped-call]
    gradients = [parameter.grad for parameter in carrier.parameters() if parameter.grad is not None]
    finite = all(bool(each.isfinite().all()) for each in (total, *gradients))
    return finite, int(carrier.sanitized())


def long_flows(plan: Plan) -> list[str]:
    """The table of long journeys."""
    rows = []
    for name in CELLS:
        told: list[str] = [name]
        for width, height, depth in LONG if not plan.quick else ((4, 4, 40),):
            size = {"lattice_width": width, "lattice_height": height, "lattice_depth": depth}
            norms, seconds, kept = [], [], 0
            for seed in range(plan.seeds):
                model = fresh_model(name, seed, **size)
                question_BE = torch.nn.functional.normalize(torch.randn(2, 384), dim=1)
                kept = kept_for_backward(lambda m=model, q=question_BE: m(q).answer_BE)  # type: ignore[misc]
                started = time.perf_counter()
                norms.append(_gradient_norm(model, question_BE))
                seconds.append(time.perf_counter() - started)
            largest = max(norm if math.isfinite(norm) else math.inf for norm in norms)
            told += [number(largest), f"{statistics.median(seconds) * 1e3:.0f}", f"{kept / 1e6:.0f}"]
        rows.append(told)
    sizes = LONG if not plan.quick else ((4, 4, 40),)
    head = [f"{'×'.join(map(str, size))}: {what}" for size in sizes for what in ("gradient norm", "ms", "MB kept")]
    return [
        "**Long journeys**, 2 questions, forward and backward: the largest gradient norm of the seeds, the time, and "
        "what is kept for backward.",
        "",
        *table(("cell", *head), rows),
    ]


def large_weights(plan: Plan) -> list[str]:
    """The table of trainings from a cell whose parameters were multiplied."""
    rows = []
    for name in CELLS:
        told: list[str] = [name]
        for times in TIMES:
            ends = [_trained(name, times, seed, plan.training_steps) for seed in range(plan.seeds)]
            incidents = sum(incidents for incidents, _ in ends)
            told += [str(incidents), f"{statistics.median([error for _, error in ends]):.4f}"]
        rows.append(told)
    head = [f"× {times}: {what}" for times in TIMES for what in ("incidents", "error")]
    return [
        f"**Trained from large weights**: {plan.training_steps} steps of the default job under the guard, with its "
        "default policy; incidents of all seeds together, and the median squared error on the validation part.",
        "",
        *table(("cell", *head), rows),
    ]


def _trained(name: CellName, times: float, seed: int, steps: int) -> tuple[int, float]:
    """Incidents and held-out squared error."""
    torch.manual_seed(seed)
    trainer = EnergyTrainer.from_config(job_config(name), seed=seed, steps=steps)
    scale(trainer.model.carrier.cell, times)
    guard = Guard(
        model=trainer.model,
        optimizer=trainer.optimizer,
        scheduler=trainer.scheduler,
        loss=trainer.loss,
        data=trainer.data,
        on_gradients=trainer.on_gradients,
        sanitized=trainer.sanitized,
        reset_module=trainer.reset_module,
        seed=seed,
        quiet=True,
    )
    summary = guard.run(steps=steps)
    return summary.incidents, trainer.evaluate()["squared_error"]
