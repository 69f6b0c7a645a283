from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from energy_flow.metrics import answer_metrics, true_ranks


def unit_rows(rows: int, elements: int) -> torch.Tensor:
    return functional.normalize(torch.randn(rows, elements), dim=1)


def test_the_right_answers_are_found_first_among_their_pool() -> None:
    answers = unit_rows(20, 6)
    assert answer_metrics(3.0 * answers, answers, 10) == pytest.approx(
        {"squared_error": 4.0, "mrr": 1.0, "top1": 1.0, "top10": 1.0}, rel=1e-5
    )


def test_ranks_count_within_the_pool_alone() -> None:
    candidates = torch.eye(4)
    predicted = torch.tensor([[0.4, 0.3, 0.2, 0.1]]).repeat(4, 1)
    assert true_ranks(predicted, candidates, 4).tolist() == [1, 2, 3, 4]
    assert true_ranks(predicted, candidates, 2).tolist() == [1, 2, 1, 2]
    assert true_ranks(predicted, candidates, 3).tolist() == [1, 2, 3], "a pool that is not full is left out"


def test_top10_and_mrr_follow_from_the_ranks() -> None:
    predicted = torch.linspace(1.0, 0.1, 20).repeat(20, 1)
    metrics = answer_metrics(predicted, torch.eye(20), 20)
    assert metrics["top1"] == pytest.approx(1 / 20)
    assert metrics["top10"] == pytest.approx(10 / 20)
    assert metrics["mrr"] == pytest.approx(sum(1 / rank for rank in range(1, 21)) / 20)


@pytest.mark.parametrize("collapsed", [torch.nan, 0.0])
def test_a_collapsed_prediction_ranks_last_and_not_first(collapsed: float) -> None:
    assert true_ranks(torch.full((5, 3), collapsed), unit_rows(5, 3), 5).tolist() == [5] * 5


def test_too_few_queries_for_a_pool_are_an_error() -> None:
    with pytest.raises(ValueError, match="3 queries do not fill a pool of 4"):
        true_ranks(torch.eye(3), torch.eye(3), 4)
