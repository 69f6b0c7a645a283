"""Learning to answer by way of learning to repeat.

An answer speaks of what its question speaks of. A model that starts from nothing has to find that out from a few
thousand pairs, and overfits before it has; one that can already give back what it was asked has only to learn the
difference. So the target of a fresh model is the question itself, shortened, around the mean answer; it holds for a
while, then goes over into the answer. This changes the target alone, not the model: it has no way around the flows.

Shape suffixes: N training pairs, B batch, E embedding elements.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["Echo"]


class Echo:
    """The target of training: first an echo of the question, in the end the answer.

    Args:
        question_NE: training questions [N, E], of which the mean is taken.
        answer_NE: training answers [N, E], of which the mean is taken.
        length: how much of a question, beyond the mean one, its echo keeps.
        hold: share of the schedule at which the echo begins to fade.
        end: share of the schedule from which the target is the answer; 0: from the start.
    """

    def __init__(self, question_NE: Tensor, answer_NE: Tensor, *, length: float, hold: float, end: float) -> None:
        self.length = length
        self.hold = hold
        self.end = end
        self._shift_E = answer_NE.mean(dim=0) - length * question_NE.mean(dim=0)
        self._shifts: dict[torch.device, Tensor] = {}

    def weight(self, progress: float) -> float:
        """The echo's weight in the target, from 1 to 0, after this share of the schedule."""
        if progress >= self.end:
            return 0.0
        if progress <= self.hold:
            return 1.0
        return (self.end - progress) / (self.end - self.hold)

    def target(self, question_BE: Tensor, answer_BE: Tensor, progress: float) -> Tensor:
        """What the model is to give for these questions after this share of the schedule: [B, E]."""
        weight = self.weight(progress)
        if weight == 0.0:
            return answer_BE
        echo_BE = self._shift(question_BE.device) + self.length * question_BE
        return torch.lerp(answer_BE, echo_BE, weight)

    def _shift(self, device: torch.device) -> Tensor:
        # Copied to a device once: a copy in every step would wait for it.
        if device not in self._shifts:
            self._shifts[device] = self._shift_E.to(device)
        return self._shifts[device]
