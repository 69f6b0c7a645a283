"""How well predicted answer embeddings find the true answers among held-out candidates.

Shape suffixes: Q queries, C candidates in a pool, E embedding elements.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

__all__ = ["answer_metrics", "true_ranks"]


def true_ranks(predicted_QE: Tensor, answers_QE: Tensor, pool_size: int) -> Tensor:
    """Rank of each query's own answer among the candidates of its pool, by cosine similarity.

    The queries are cut, in order, into pools of `pool_size`; the candidates of a query are the answers of its
    pool. A candidate that ties with the true answer counts as ahead of it, and so does every candidate of a
    prediction that is not finite: a collapsed model must not look like a perfect one.

    Args:
        predicted_QE: predictions [Q, E].
        answers_QE: true answers [Q, E], none of them zero.
        pool_size: candidates a query; a last, smaller pool is left out.

    Returns:
        Ranks from 1, int64 [Q // pool_size * pool_size].

    Raises:
        ValueError: there are fewer queries than one pool needs.
    """
    pools = len(answers_QE) // pool_size
    if pool_size < 1 or pools == 0:
        raise ValueError(f"{len(answers_QE)} queries do not fill a pool of {pool_size}")
    kept = pools * pool_size
    predicted = functional.normalize(predicted_QE[:kept], dim=1).reshape(pools, pool_size, -1)
    candidates = functional.normalize(answers_QE[:kept], dim=1).reshape(pools, pool_size, -1)
    similarity = predicted @ candidates.transpose(1, 2)
    own = similarity.diagonal(dim1=1, dim2=2).unsqueeze(2)
    return (~(similarity < own)).sum(dim=2).reshape(-1)


def answer_metrics(predicted_QE: Tensor, answers_QE: Tensor, pool_size: int) -> dict[str, float]:
    """Squared error and retrieval quality of predictions.

    Args:
        predicted_QE: predictions [Q, E].
        answers_QE: true answers, unit vectors [Q, E].
        pool_size: candidates a query, as in `true_ranks`.

    Returns:
        `squared_error` (sum over the elements, mean over the queries: 1 for predicting zero), `mrr` (mean of
        1/rank), `top1` and `top10` (share of the queries whose own answer comes first, or in the first ten).
    """
    ranks = true_ranks(predicted_QE, answers_QE, pool_size)
    return {
        "squared_error": (predicted_QE - answers_QE).square().sum(dim=1).mean().item(),
        "mrr": ranks.double().reciprocal().mean().item(),
        "top1": (ranks <= 1).double().mean().item(),
        "top10": (ranks <= 10).double().mean().item(),
    }
