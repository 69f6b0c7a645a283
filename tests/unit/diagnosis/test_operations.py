"""What the arguments of an operation show that has just made a value that is not finite."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from supervisor.diagnosis.operations import about
from supervisor.training.norms import flaws
from supervisor.training.tree import all_tensors

X = torch.tensor([1.0, 0.0, -2.0])
LOGITS = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
STEPS = torch.randn(4, 2, 5, generator=torch.Generator().manual_seed(0)).log_softmax(-1)


class Told(TorchFunctionMode):
    """Asks about every function that makes a bad value."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[str | None] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        entering = flaws(all_tensors(args), all_tensors(kwargs))
        result = func(*args, **kwargs)
        if flaws(all_tensors(result)) - entering:
            self.heard.append(about(func.__name__, args, kwargs, entering))
        return result


def said(compute: Callable[[], Tensor]) -> str | None:
    with Told() as told:
        compute()
    (heard,) = told.heard
    return heard


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    ("compute", "found"),
    [
        (lambda: X.log(), "its argument is zero in 1 of 3 elements and negative in 1 of 3 elements"),
        (lambda: torch.log(input=X), "its argument is zero in 1 of 3 elements and negative in 1 of 3 elements"),
        (lambda: torch.log1p(X), "its argument is -1 or less in 1 of 3 elements"),
        (lambda: X.sqrt(), "its argument is negative in 1 of 3 elements"),
        (lambda: X / X, "its divisor is zero in 1 of 3 elements"),
        (lambda: torch.ones(2) / 0, "its divisor is zero in 1 of 1 elements"),
        (lambda: 1 / X, "its divisor is zero in 1 of 3 elements"),
        (lambda: X.reciprocal(), "its divisor is zero in 1 of 3 elements"),
        (lambda: X.acos(), "its argument is beyond -1 and 1 in 1 of 3 elements"),
        (lambda: X**-1, "its base is zero with a negative exponent in 1 elements"),
        (lambda: X**0.5, "its base is negative with a fraction as exponent in 1 elements"),
        (lambda: X[X > 5].mean(), "it is given a tensor without elements"),
        (lambda: F.mse_loss(X[:0], X[:0]), "it is given a tensor without elements"),
        (lambda: X[:1].std(), "it is given a single element"),
        (lambda: torch.exp(X * 300), "the largest number that it is given is 600, in float32"),
        (lambda: F.cross_entropy(LOGITS, torch.full((4,), -100)), "all 4 targets are the ignored -100"),
        (
            lambda: nn.CrossEntropyLoss(ignore_index=2)(LOGITS, torch.full((4,), 2)),
            "all 4 targets are the ignored 2",
        ),
        (
            lambda: F.nll_loss(LOGITS, torch.full((4,), 1), torch.tensor([1.0, 0.0, 1.0])),
            "the weights of its 4 targets sum to zero",
        ),
        (
            lambda: F.ctc_loss(STEPS, torch.tensor([[1, 1, 1, 2], [1, 2, 0, 0]]), (4, 4), (4, 2)),
            "sample 0 needs 6 steps for its target and has 4",
        ),
        (
            lambda: F.ctc_loss(STEPS, torch.tensor([1, 2, 1, 2, 3]), torch.tensor([4, 2]), torch.tensor([2, 3])),
            "sample 1 needs 3 steps for its target and has 2",
        ),
        (lambda: torch.as_tensor(np.array([math.nan])), "what it is given holds values that are not finite"),
    ],
)
def test_what_is_known_to_give_it_is_found(compute: Callable[[], Tensor], found: str) -> None:
    assert said(compute) == found


def test_rows_of_nothing_under_a_softmax() -> None:
    scores = torch.full((3, 2), -math.inf)
    scores[0] = 1.0
    assert said(lambda: scores.softmax(-1)) == "2 of its 3 rows hold -inf alone"
    assert said(lambda: F.softmax(scores, dim=1)) == "2 of its 3 rows hold -inf alone"


def test_an_infinity_among_the_arguments_is_named() -> None:
    given = torch.tensor([math.inf, -math.inf])
    assert said(lambda: given.sum()) == "among its arguments is -inf and inf"


def test_what_is_not_known_gets_its_largest_number() -> None:
    assert said(lambda: torch.full((2,), 3e38).cumsum(0)) == "the largest number that it is given is 3e+38, in float32"


def test_what_has_written_over_its_argument_says_nothing() -> None:
    assert said(lambda: X.clone().log_()) is None


def test_what_cannot_be_read_is_no_error() -> None:
    assert about("log", (object(),), {}, frozenset()) is None
