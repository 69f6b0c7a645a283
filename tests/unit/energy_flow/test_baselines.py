"""The baselines: the mean answer, and the best linear maps of full and of low rank."""

from __future__ import annotations

import pytest
import torch
from sklearn.linear_model import Ridge
from torch.nn import functional

from energy_flow.baselines import LinearMap, fit_linear_map, mean_answer


def unit_rows(rows: int, elements: int) -> torch.Tensor:
    return functional.normalize(torch.randn(rows, elements), dim=1)


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
    fitted = fit_linear_map(question, answer, validation=(question, answer))
    reference = Ridge(alpha=fitted.penalty).fit(question.double().numpy(), answer.double().numpy())
    expected = torch.from_numpy(reference.predict(question.double().numpy())).float()
    torch.testing.assert_close(fitted(question), expected, rtol=1e-4, atol=1e-5)


def test_the_penalty_is_the_one_that_does_best_on_pairs_left_out() -> None:
    question, answer = noisy_linear_pairs()
    others = question + 10 * torch.randn_like(question), answer
    in_rows = fit_linear_map(question, answer, validation=(question, answer))
    assert in_rows.penalty < fit_linear_map(question, answer, validation=others).penalty


def test_the_low_rank_map_is_the_best_of_its_rank() -> None:
    question, answer = (values.double() for values in noisy_linear_pairs())
    rank = 4
    fitted = fit_linear_map(question, answer, validation=(question, answer), rank=rank)
    penalty = fitted.penalty
    assert int(torch.linalg.matrix_rank(fitted.weight_EE)) == rank

    def cost(weight: torch.Tensor) -> float:
        moved = LinearMap(weight, fitted.question_mean_E, fitted.answer_mean_E, penalty)
        return ((moved(question) - answer).square().sum() + penalty * weight.square().sum()).item()

    # Gradient descent on the two factors, from the truncated full solution, must find nothing better.
    left, _, right = torch.linalg.svd(fit_linear_map(question, answer, validation=(question, answer)).weight_EE)
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
    low, full = (fit_linear_map(question, answer, validation=(question, answer), rank=rank) for rank in (12, None))
    torch.testing.assert_close(low(question), full(question))
