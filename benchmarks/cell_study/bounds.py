"""How far a gradient can grow: through the cell alone, and through the loop by which a flow reads where it is."""

from __future__ import annotations

from collections.abc import Callable

import torch

from benchmarks.cell_study.common import CELLS, TIMES, Plan, fresh_cell, fresh_model, inputs_of, number, table, worst
from energy_flow.config import CellName
from energy_flow.flow import start, step

__all__ = ["bounds", "through_the_cell", "through_the_journey"]

ROUTES = {
    "all of the journey": (True, True),
    "the state alone, the place of a flow cut": (True, False),
    "the place alone, the state cut": (False, True),
}
"""Which of the two loops a gradient may take: through the cell's state, and through position and energy."""


def through_the_cell(name: CellName, times: float, seed: int, plan: Plan) -> float:
    """Largest element of the gradient of the last outputs' sum by the first state, over fresh inputs each step."""
    torch.manual_seed(seed)
    cell = fresh_cell(name, seed, times)
    first = (0.1 * torch.randn_like(cell(inputs_of(cell, plan.flows // 8))[1])).requires_grad_()
    hidden = first
    for _ in range(plan.flow_steps):
        output, hidden = cell(inputs_of(cell, plan.flows // 8), hidden)
    (gradient,) = torch.autograd.grad(output.sum(), first)
    return float(gradient.abs().max())


def through_the_journey(name: CellName, times: float, seed: int, depth: int, state: bool, place: bool) -> float:
    """Largest element of the gradient of where the flows end, and with what energy, by where they start.

    Args:
        name: the cell.
        times: its parameters are multiplied by it.
        seed: of weights and questions.
        depth: of the lattice; a journey has half as many steps.
        state: whether the gradient may go through the cell's state.
        place: whether it may go through position and energy, which the cell reads again in the next step.
    """
    model = fresh_model(name, seed, times, lattice_depth=depth, max_spawned_flows=0)
    config = model.config
    with torch.no_grad():
        energy_BS = model.encoder(torch.nn.functional.normalize(torch.randn(2, config.embedding_dim), dim=1))
    begun = start(energy_BS, config)
    hidden = (0.1 * torch.randn_like(begun.hidden_LFh)).requires_grad_()
    position = begun.position_F3.clone().requires_grad_()
    flows = begun._replace(hidden_LFh=hidden, position_F3=position)
    for number_of_step in range(config.steps):
        if number_of_step and not state:
            flows = flows._replace(hidden_LFh=flows.hidden_LFh.detach())
        if number_of_step and not place:
            flows = flows._replace(position_F3=flows.position_F3.detach(), energy_F1=flows.energy_F1.detach())
        flows, _, _ = step(flows, model.neuron, model.carrier, noise=0.0)
    end = flows.energy_F1.sum() + flows.position_F3.sum()
    gradients = torch.autograd.grad(end, (hidden, position), allow_unused=True)
    return max(float(gradient.abs().max()) for gradient in gradients if gradient is not None)


def bounds(plan: Plan) -> list[str]:
    """The tables of gradients."""
    depth = 8 if plan.quick else 40
    lines = [
        f"**Largest gradient of the state**, the cell alone, {plan.flow_steps} steps on fresh inputs; all of its "
        f"parameters multiplied. The largest of {plan.seeds} seeds.",
        "",
        *_by_times(plan, lambda name, times, seed: through_the_cell(name, times, seed, plan)),
    ]
    for route, (state, place) in ROUTES.items():
        lines += [
            f"**Largest gradient by where a flow starts**, 8×8×{depth}, through {route}.",
            "",
            *_by_times(
                plan,
                lambda name, times, seed, s=state, p=place: through_the_journey(name, times, seed, depth, s, p),  # type: ignore[misc]
            ),
        ]
    return lines


def _by_times(plan: Plan, measure: Callable[[CellName, float, int], float]) -> list[str]:
    rows = (
        (name, *(number(worst(lambda seed, n=name, t=times: measure(n, t, seed), plan.seeds)) for times in TIMES))  # type: ignore[misc]
        for name in CELLS
    )
    return table(("cell", *(f"weights × {times}" for times in TIMES)), rows)
