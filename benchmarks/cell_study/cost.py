"""Time and memory of a step: all cells in turn, over and over, and the GRU twice, which shows the machine's noise."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks.cell_study.common import CELLS, Plan, fresh_cell, inputs_of, job_config, table
from energy_flow.config import CellName
from energy_flow.energy_trainer import EnergyTrainer

__all__ = ["cost", "kept_for_backward"]

AGAIN = "gru again (noise)"


def cost(plan: Plan) -> list[str]:
    """The table of what a step costs."""
    names: dict[str, CellName] = {"gru": "gru", AGAIN: "gru", **{name: name for name in CELLS}}
    steps = _taken_in_turn({shown: _training_step(name) for shown, name in names.items()}, plan.rounds)
    alone = _taken_in_turn({shown: _cell_alone(name, plan) for shown, name in names.items()}, max(plan.rounds // 5, 2))
    each = 1e9 / (plan.flow_steps * plan.flows)
    rows = []
    for shown, name in names.items():
        ratios = [mine / theirs for mine, theirs in zip(steps[shown], steps["gru"], strict=True)]
        quartiles = statistics.quantiles(ratios, n=4)
        rows.append(
            (
                shown,
                f"{statistics.median(steps[shown]) * 1e3:.1f}",
                f"{statistics.median(ratios):.2f} ({quartiles[0]:.2f} to {quartiles[2]:.2f})",
                f"{statistics.median(alone[shown]) * each:.0f}",
                f"{_kept(name) / 1e6:.1f}",
                f"{sum(parameter.numel() for parameter in fresh_cell(name, 0).parameters()):,}",
            )
        )
    head = (
        "cell",
        "ms a step",
        "of the GRU's, median of pairs (quartiles)",
        "ns a flow-step, cell alone",
        "MB kept for backward",
        "parameters of the cell",
    )
    return [
        f"**What a step costs.** The default job's training step, {plan.rounds} rounds, all cells in turn in each; and "
        f"the cell alone, forward and backward, {plan.flow_steps} steps of {plan.flows} flows. "
        f"A GRU measured against itself differs by as much as its second row says.",
        "",
        *table(head, rows),
    ]


def kept_for_backward(forward: Callable[[], Tensor]) -> int:
    """Bytes that autograd holds after a forward pass, each storage once: what a step needs beside the weights."""
    held: dict[int, int] = {}
    alive: list[Tensor] = []

    def pack(tensor: Tensor) -> Tensor:
        alive.append(tensor)
        held[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        forward()
    return sum(held.values())


def _trainer(name: CellName) -> EnergyTrainer:
    return EnergyTrainer.from_config(job_config(name), seed=0, steps=1500)


def _kept(name: CellName) -> int:
    trainer = _trainer(name)
    batch = next(iter(trainer.data))
    return kept_for_backward(lambda: trainer.loss(batch))


def _training_step(name: CellName) -> Callable[[], None]:
    trainer = _trainer(name)
    batch = next(iter(trainer.data))

    def step() -> None:
        trainer.optimizer.zero_grad()
        trainer.loss(batch).backward()  # type: ignore[no-untyped-call]
        trainer.on_gradients(1.0)
        trainer.optimizer.step()

    return step


def _cell_alone(name: CellName, plan: Plan) -> Callable[[], None]:
    cell = fresh_cell(name, 0)
    inputs = [inputs_of(cell, plan.flows) for _ in range(plan.flow_steps)]

    def step() -> None:
        hidden, total = None, torch.zeros(())
        for each in inputs:
            output, hidden = cell(each, hidden)
            total = total + output.sum()
        total.backward()  # type: ignore[no-untyped-call]

    return step


def _taken_in_turn(contenders: dict[str, Callable[[], None]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each, by round; who comes first changes from round to round, and one round warms up."""
    seconds: dict[str, list[float]] = {shown: [] for shown in contenders}
    order = list(contenders)
    for number_of_round in range(rounds + 1):
        for shown in order:
            started = time.perf_counter()
            contenders[shown]()
            if number_of_round:
                seconds[shown].append(time.perf_counter() - started)
        order = [*order[1:], order[0]]
    return seconds
