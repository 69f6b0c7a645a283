from __future__ import annotations

import pytest
import torch
from sklearn.linear_model import Ridge
from torch.nn import functional

from energy_flow.baselines import LinearMap, _fit, fit_linear_map, mean_answer
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


def test_the_mean_answer_is_the_same_for_every_query() -> None:
    answers = unit_rows(30, 5)
    predicted = mean_answer(answers, 4)
    assert predicted.shape == (4, 5)
    torch.testing.assert_close(predicted[2], answers.mean(dim=0))


def noisy_linear_pairs() -> tuple[torch.Tensor, torch.Tensor]:
    question = unit_rows(200, 12)
    return question, question @ torch.randn(12, 12) + 0.3 * torch.randn(200, 12) + 1.0


def test_ridge_is_what_scikit_learn_calls_ridge() -> None:
    question, answer = noisy_linear_pairs()
    fitted = fit_linear_map(question, answer)
    reference = Ridge(alpha=fitted.penalty).fit(question.double().numpy(), answer.double().numpy())
    expected = torch.from_numpy(reference.predict(question.double().numpy())).float()
    torch.testing.assert_close(fitted(question), expected, rtol=1e-4, atol=1e-5)


def test_the_penalty_is_the_one_that_does_best_on_pairs_left_out() -> None:
    question = unit_rows(400, 12)
    assert fit_linear_map(question, question).penalty < fit_linear_map(question, torch.randn(400, 12)).penalty


def test_the_low_rank_map_is_the_best_of_its_rank() -> None:
    question, answer = (values.double() for values in noisy_linear_pairs())
    penalty, rank = 3.0, 4
    fitted = _fit(question, answer, penalty, rank)
    assert int(torch.linalg.matrix_rank(fitted.weight_EE)) == rank

    def cost(weight: torch.Tensor) -> float:
        moved = LinearMap(weight, fitted.question_mean_E, fitted.answer_mean_E, penalty)
        return ((moved(question) - answer).square().sum() + penalty * weight.square().sum()).item()

    # Gradient descent on the two factors, from the truncated full solution, must find nothing better.
    left, _, right = torch.linalg.svd(_fit(question, answer, penalty, None).weight_EE)
    factors = [left[:, :rank].clone().requires_grad_(), right[:rank].clone().requires_grad_()]
    optimizer = torch.optim.Adam(factors, lr=0.02)
    for _ in range(800):
        weight = factors[0] @ factors[1]
        moved = (question - fitted.question_mean_E) @ weight + fitted.answer_mean_E
        loss = (moved - answer).square().sum() + penalty * weight.square().sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert cost(fitted.weight_EE) <= loss.item() + 1e-6
    assert cost(fitted.weight_EE) == pytest.approx(loss.item(), rel=1e-3)


def test_full_rank_is_the_ridge_itself() -> None:
    question, answer = noisy_linear_pairs()
    torch.testing.assert_close(
        fit_linear_map(question, answer, rank=12)(question), fit_linear_map(question, answer)(question)
    )
