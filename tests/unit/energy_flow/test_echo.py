"""The echo: what training begins with, and how it goes over into the answer."""

from __future__ import annotations

import pytest
import torch

from energy_flow.echo import Echo


def echo(**settings: float) -> Echo:
    question, answer = torch.randn(30, 5), torch.randn(30, 5)
    return Echo(question, answer, **{"length": 0.5, "hold": 0.2, "end": 0.8, **settings})


@pytest.mark.parametrize(("progress", "weight"), [(0.0, 1.0), (0.2, 1.0), (0.5, 0.5), (0.8, 0.0), (1.0, 0.0)])
def test_it_holds_and_then_fades(progress: float, weight: float) -> None:
    assert echo().weight(progress) == pytest.approx(weight)


def test_an_end_of_zero_means_none_at_all() -> None:
    assert echo(end=0.0).weight(0.0) == 0.0


def test_an_end_before_the_hold_breaks_off_there() -> None:
    short = echo(hold=0.5, end=0.3)
    assert (short.weight(0.29), short.weight(0.3)) == (1.0, 0.0)


def test_the_target_goes_from_the_shortened_question_to_the_answer() -> None:
    training_question, training_answer = torch.randn(30, 5), torch.randn(30, 5)
    task = Echo(training_question, training_answer, length=0.5, hold=0.2, end=0.8)
    question, answer = torch.randn(4, 5), torch.randn(4, 5)
    first = training_answer.mean(dim=0) + 0.5 * (question - training_question.mean(dim=0))
    torch.testing.assert_close(task.target(question, answer, 0.0), first)
    torch.testing.assert_close(task.target(question, answer, 0.5), (first + answer) / 2)
    assert torch.equal(task.target(question, answer, 0.8), answer)


def test_a_broken_row_stays_in_its_own_row() -> None:
    question, answer = torch.randn(4, 5), torch.randn(4, 5)
    question[1, 2] = torch.nan
    target = echo().target(question, answer, 0.0)
    assert target[[0, 2, 3]].isfinite().all()
    assert target[1].isnan().sum().item() == 1
