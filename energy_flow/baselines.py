"""What the model is measured against: the mean answer, a ridge regression, the best linear map of low rank.

All three are fitted on the training pairs alone. The penalty of the linear maps is the one that does best on the
validation pairs. Everything is in double precision.

Shape suffixes: N training pairs, Q queries, E embedding elements.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["LinearMap", "fit_linear_map", "mean_answer"]

PENALTIES = (0.3, 1.0, 3.0, 5.0, 7.0, 10.0, 14.0, 20.0, 30.0, 100.0, 300.0)
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


def fit_linear_map(
    question_NE: Tensor, answer_NE: Tensor, *, validation: tuple[Tensor, Tensor], rank: int | None = None
) -> LinearMap:
    """Fit a ridge regression, or the best map of at most `rank` dimensions under the same penalty.

    Args:
        question_NE: training questions [N, E].
        answer_NE: training answers [N, E].
        validation: questions [Q, E] and answers [Q, E] on which the penalty is chosen.
        rank: None for the full ridge regression; else reduced-rank regression: the ridge fit projected on the
            `rank` leading directions of its fitted answers, which is the least-squares optimum of that rank.

    Returns:
        The map with the penalty that has the smallest squared error on the validation pairs.
    """
    question, answer = question_NE.double(), answer_NE.double()
    asked, expected = (part.double() for part in validation)
    maps = [_fit(question, answer, penalty, rank) for penalty in PENALTIES]
    return min(maps, key=lambda fitted: (fitted(asked) - expected).square().sum().item())


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
