"""A pole to be balanced, in NumPy: the environment of the actor and critic in `long_workloads.py`."""

from __future__ import annotations

import numpy as np
from torch import nn

__all__ = ["LONGEST", "episodes"]

LONGEST = 16
"""Steps of an episode in which the pole does not fall."""


def episodes(model: nn.Sequential, row_BF: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Balances poles until they fall or `LONGEST` steps are over, by the model's own choices.

    Args:
        row_BF: a pole's angle and speed at the start, then a number in [0, 1] for each choice.

    Returns:
        Angle and speed [T, B, 2], the choice (0 or 1) [T, B], and whether the pole still stood [T, B].
    """
    weights, biases = ([getattr(model[at], name).detach().numpy() for at in (0, 2)] for name in ("weight", "bias"))
    mix, read = weights[0].T, weights[1][0]
    state, alive = row_BF[:, :2], np.ones(len(row_BF), dtype=bool)
    states, choices, standing = [], [], []
    for step in range(LONGEST):
        logit = np.tanh(state @ mix + biases[0]) @ read + biases[1][0]
        choice = row_BF[:, 2 + step] < 1 / (1 + np.exp(-logit))
        states.append(state)
        choices.append(choice)
        standing.append(alive)
        speed = state[:, 1] + 0.1 * (3 * state[:, 0] + np.where(choice, 2, -2))
        state = np.array([state[:, 0] + 0.1 * speed, speed]).T
        alive = alive & ~(np.abs(state[:, 0]) > 1)
        if not alive.any():
            break
    return np.stack(states), np.stack(choices), np.stack(standing)
