"""What the parts of the study share: the cells, a fresh model, Markdown rows."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, get_args

import torch
import yaml
from torch import Tensor, nn

from energy_flow.cells import CarrierCell, make_cell
from energy_flow.config import CellName, EnergyConfig
from energy_flow.model import EnergyFlow

__all__ = [
    "CELLS",
    "TIMES",
    "Plan",
    "fresh_cell",
    "fresh_model",
    "inputs_of",
    "job_config",
    "number",
    "scale",
    "table",
    "worst",
]

ROOT = Path(__file__).resolve().parents[2]

M = TypeVar("M", bound=nn.Module)

CELLS: tuple[CellName, ...] = get_args(CellName)
TIMES = (1, 5, 20)
"""What all parameters of a fresh cell are multiplied by."""


@dataclass(frozen=True)
class Plan:
    """How much is measured.

    Attributes:
        seeds: of everything that is drawn; each is a run of its own.
        rounds: turns of the timing.
        flow_steps: steps of the cell alone.
        flows: that many flows at once in it.
        training_steps: of the trainings from large weights.
        rehearsal_steps: of the default job, with and without faults.
        quick: whether only a first look is asked for.
    """

    seeds: int = 3
    rounds: int = 30
    flow_steps: int = 30
    flows: int = 2048
    training_steps: int = 300
    rehearsal_steps: int = 1500
    quick: bool = False


QUICK = Plan(seeds=1, rounds=3, flow_steps=6, flows=128, training_steps=6, rehearsal_steps=60, quick=True)


def job_config(name: CellName) -> dict[str, Any]:
    """The config of the default job, with this cell."""
    job = yaml.safe_load((ROOT / "configs" / "jobs" / "energy_flow.yaml").read_text(encoding="utf-8"))
    return {**job["config"], "carrier_cell": name}


def fresh_cell(name: CellName, seed: int, times: float = 1.0, **config: Any) -> CarrierCell:
    """A cell of the default sizes, drawn by its own rule and multiplied."""
    cell = make_cell(EnergyConfig(carrier_cell=name, **config))
    cell.reset_parameters(torch.Generator().manual_seed(seed))
    return scale(cell, times)


def fresh_model(name: CellName, seed: int, times: float = 1.0, **config: Any) -> EnergyFlow:
    """A model of which the cell's parameters are multiplied.

    The same seed gives all cells the same weights around them, and the same numbers to whoever draws next.
    """
    model = EnergyFlow(EnergyConfig(carrier_cell=name, **config))
    torch.manual_seed(seed)
    gru = EnergyFlow(EnergyConfig(**config))
    shared = {key: value for key, value in gru.state_dict().items() if not key.startswith("carrier.gru.")}
    model.load_state_dict(shared, strict=False)
    model.carrier.cell.reset_parameters(torch.Generator().manual_seed(seed))
    scale(model.carrier.cell, times)
    return model


def inputs_of(cell: CarrierCell, flows: int) -> Tensor:
    """What so many flows might read in one step [flows, inputs]; drawn from the global generator."""
    return torch.randn(flows, cell.get_parameter("weight_ih_l0").shape[1])


def scale(module: M, times: float) -> M:
    """Multiply every parameter of a module, in place."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(times)
    return module


def worst(measure: Callable[[int], float], seeds: int) -> float:
    """The largest over the seeds; infinite where one is not finite."""
    values = [measure(seed) for seed in range(seeds)]
    return max(value if math.isfinite(value) else math.inf for value in values)


def number(value: float) -> str:
    """Three digits."""
    return f"{value:.3g}"


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """A Markdown table and an empty line."""
    lines = [f"| {' | '.join(str(cell) for cell in each)} |" for each in (head, *rows)]
    return [lines[0], "|" + "---|" * len(head), *lines[1:], ""]
