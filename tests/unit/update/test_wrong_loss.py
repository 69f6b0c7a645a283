"""What `loss(batch)` must return, and where the function is that returned something else."""

from __future__ import annotations

import functools
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from supervisor.update.wrong_loss import LossError, checked, said_of


def loss(batch: Any) -> Any:
    return batch


class Called:
    def __call__(self, batch: Any) -> Any:
        return batch

    def method(self, batch: Any) -> Any:
        return batch


class Module(nn.Module):
    def forward(self, batch: Any) -> Any:
        return batch


def line_of(function: Any) -> str:
    return f"{__file__}:{function.__code__.co_firstlineno}"


def test_a_tensor_of_one_element_with_a_graph_is_left_as_it_is() -> None:
    value = torch.ones(1, requires_grad=True)
    assert checked(value, loss) is value


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0.5, "with one element, not float"),
        (torch.ones(3, requires_grad=True), r"with one element, not shape \(3,\)"),
        (torch.ones(()), "with a graph: the tensor does not require grad"),
    ],
    ids=["number", "vector", "detached"],
)
def test_all_else_is_refused_with_the_line_of_the_function(value: Any, said: str) -> None:
    with pytest.raises(LossError, match=said) as caught:
        checked(value, loss)
    assert caught.value.where == line_of(loss)
    assert str(caught.value).startswith(f"{line_of(loss)}: loss(batch) must return")
    assert said_of(caught.value) == f"LossError: {caught.value.what}"


def test_where_gradients_are_switched_off_that_is_said() -> None:
    value = torch.ones((), requires_grad=True)
    with torch.no_grad(), pytest.raises(LossError, match="gradients are switched off where it is called"):
        checked(value * 2, loss)


def test_of_another_exception_nothing_is_left_out() -> None:
    assert said_of(ValueError("no such row")) == "ValueError: no such row"


@pytest.mark.parametrize(
    ("function", "defined"),
    [
        (functools.partial(loss), loss),
        (functools.wraps(loss)(lambda batch: batch), loss),
        (Called(), Called.__call__),
        (Called().method, Called.method),
        (Module(), Module.forward),
        (len, None),
    ],
    ids=["partial", "wrapped", "callable", "method", "module", "built in"],
)
def test_the_function_is_found_however_it_is_made(function: Any, defined: Any) -> None:
    error = LossError("no", function)
    assert error.where == (None if defined is None else line_of(defined))


def test_it_is_a_type_error() -> None:
    def nothing(batch: Any) -> Tensor | None:
        return None

    with pytest.raises(TypeError, match="not NoneType"):
        checked(nothing(1), nothing)
