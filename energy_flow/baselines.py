"""What the model is measured against: the mean answer, a ridge regression, the best linear map of low rank.

All three are fitted on the training pairs alone. The penalty of the linear maps is chosen on the last fifth
of the training pairs, then the map is fitted again on all of them. Everything is in double precision.

Shape suffixes: N training pairs, Q queries, E embedding elements.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["LinearMap", "fit_linear_map", "mean_answer"]

PENALTIES = (0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0)
"""Candidates for the ridge penalty, for unit-norm questions and a few thousand pairs."""


@dataclass(frozen=True)
class LinearMap:
    """An affine map from question to answer embeddings.

    Attributes:
        weight_EE: maps a centred question [E] to a centred answer [E]; float64.
        question_mean_E: mean training question [E].
        answer_mean_E: mean training answer [E].
        penalty: the ridge penalty it was fitted with.
    """

    weight_EE: Tensor
    question_mean_E: Tensor
    answer_mean_E: Tensor
    penalty: float

    def __call__(self, question_QE: Tensor) -> Tensor:
        """Predict answers [Q, E] in the questions' dtype."""
        centred = question_QE.double() - self.question_mean_E
        return (centred @ self.weight_EE + self.answer_mean_E).to(question_QE.dtype)


def mean_answer(answer_NE: Tensor, queries: int) -> Tensor:
    """The mean training answer as the prediction for every query: [queries, E]."""
    return answer_NE.double().mean(dim=0).to(answer_NE.dtype).expand(queries, -1)


def fit_linear_map(question_NE: Tensor, answer_NE: Tensor, *, rank: int | None = None) -> LinearMap:
    """Fit a ridge regression, or the best map of at most `rank` dimensions under the same penalty.

    Args:
        question_NE: training questions [N, E], at least ten.
        answer_NE: training answers [N, E].
        rank: None for the full ridge regression; else reduced-rank regression: the ridge fit projected on the
            `rank` leading directions of its fitted answers, which is the least-squares optimum of that rank.

    Returns:
        The map with the penalty that had the smallest squared error on the last fifth of the pairs.
    """
    held = len(question_NE) // 5
    question, answer = question_NE.double(), answer_NE.double()
    errors = [
        (_fit(question[:-held], answer[:-held], penalty, rank)(question[-held:]) - answer[-held:]).square().sum()
        for penalty in PENALTIES
    ]
    best = PENALTIES[int(torch.stack(errors).argmin())]
    return _fit(question, answer, best, rank)


def _fit(question_NE: Tensor, answer_NE: Tensor, penalty: float, rank: int | None) -> LinearMap:
    question_mean, answer_mean = question_NE.mean(dim=0), answer_NE.mean(dim=0)
    centred = question_NE - question_mean
    gram = centred.T @ centred
    gram.diagonal().add_(penalty)
    weight = torch.linalg.solve(gram, centred.T @ (answer_NE - answer_mean))
    if rank is not None:
        # With a penalty the fitted answers are those of the problem augmented by sqrt(penalty) * identity
        # rows.
        leading = torch.linalg.eigh(weight.T @ gram @ weight).eigenvectors[:, -rank:]
        weight = weight @ leading @ leading.T
    return LinearMap(weight, question_mean, answer_mean, penalty)
