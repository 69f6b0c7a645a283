"""What to do about an operation, by its own name and by what its arguments showed."""

from __future__ import annotations

import pytest

from supervisor.report.operations import mend, plain_name


@pytest.mark.parametrize(
    ("operation", "plain"),
    [("SqrtBackward0", "sqrt"), ("sqrt_", "sqrt"), ("__truediv__", "truediv"), ("LogSoftmaxBackward0", "logsoftmax")],
)
def test_functions_and_nodes_have_one_name(operation: str, plain: str) -> None:
    assert plain_name(operation) == plain


@pytest.mark.parametrize(
    ("operation", "detail", "said"),
    [
        ("log", None, "above zero"),
        ("sqrt", "its argument is negative in 1 of 3 elements", "at zero or above"),
        ("SqrtBackward0", None, "under the root"),
        ("RsqrtBackward0", None, "keep its argument above zero: add"),
        ("cross_entropy", "all 4 targets are the ignored -100", "at least one target that counts"),
        ("cross_entropy", "the weights of its 4 targets sum to zero", "a weight above zero"),
        ("nll_loss", "1 of its 12 inputs are infinite", "what makes its inputs infinite"),
        ("ctc_loss", "sample 0 needs 6 steps for its target and has 4", "zero_infinity=True"),
        ("kl_div", "among its arguments is -inf", "log_softmax"),
        ("std", "it is given a single element", "two elements"),
        ("mean", "it is given a tensor without elements", "nothing is left to reduce"),
        ("softmax", "2 of its 3 rows hold -inf alone", "not masked"),
    ],
)
def test_what_helps_follows_what_was_measured(operation: str, detail: str | None, said: str) -> None:
    assert said in str(mend(operation, detail))


@pytest.mark.parametrize(
    ("operation", "detail"),
    [
        ("layer_norm", None),
        ("logit", None),
        ("expand", None),
        ("NativeLayerNormBackward0", None),
        ("ctc_loss", None),
        ("cross_entropy", "the largest number that it is given is 3, in float32"),
        (None, None),
    ],
)
def test_a_name_that_merely_contains_anothers_is_not_known(operation: str | None, detail: str | None) -> None:
    assert mend(operation, detail) is None
