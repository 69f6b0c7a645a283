"""The findings about numbers that are not finite, on the numbers that an update really measures."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.records import Observation, Signal, SignalName
from supervisor.signals.nonfinite import nonfinite_signals

INF, NAN = math.inf, math.nan
HEALTHY = Observation(step=3, update=5, loss=0.7, grad_norm=1.3)


def found(**numbers: Any) -> list[Signal]:
    return nonfinite_signals(replace(HEALTHY, **numbers))


def names(**numbers: Any) -> list[SignalName]:
    return [signal.name for signal in found(**numbers)]


@pytest.mark.parametrize("loss", [0.0, -3.5, 1e-45, 3.4e38, -1e300])
@pytest.mark.parametrize("grad_norm", [0.0, 1e-45, 1e18])
def test_finite_numbers_are_healthy(loss: float, grad_norm: float) -> None:
    assert found(loss=loss, grad_norm=grad_norm) == []


@pytest.mark.parametrize("loss", [NAN, INF, -INF])
def test_a_loss_that_is_no_number(loss: float) -> None:
    (signal,) = found(loss=loss)
    assert signal.name is SignalName.NONFINITE_LOSS
    assert repr(signal.details["loss"]) == repr(loss)


@pytest.mark.parametrize("norm", [NAN, INF])
def test_a_gradient_element_that_is_no_number(norm: float) -> None:
    (signal,) = found(grad_norm=norm, gradient_elements_finite=False, bad_gradients=("gru.weight", "head.bias"))
    assert signal.name is SignalName.NONFINITE_GRADIENT
    assert signal.details["tensors"] == ("gru.weight", "head.bias")


def test_finite_elements_with_an_infinite_norm_overflow() -> None:
    (signal,) = found(grad_norm=INF, gradient_max_abs=1e19)
    assert signal.name is SignalName.GRADIENT_OVERFLOW
    assert dict(signal.details) == {"grad_norm": INF, "max_abs": 1e19}


@pytest.mark.parametrize(("largest", "overflows"), [(1e18, False), (1.01e18, True), (1e30, True)])
def test_an_element_whose_square_overflows_a_second_moment(largest: float, overflows: bool) -> None:
    expected = [SignalName.GRADIENT_OVERFLOW] if overflows else []
    assert names(grad_norm=largest, gradient_max_abs=largest) == expected


def test_a_bad_parameter_and_a_bad_optimizer_tensor() -> None:
    parameter, state = found(bad_parameters=("w",)), found(bad_optimizer_state=("w.exp_avg_sq",))
    assert [(s.name, s.details["tensors"]) for s in (*parameter, *state)] == [
        (SignalName.NONFINITE_PARAMETER, ("w",)),
        (SignalName.NONFINITE_OPTIMIZER_STATE, ("w.exp_avg_sq",)),
    ]


def test_a_bad_buffer_that_was_put_back_and_one_that_was_bad_before() -> None:
    (back,) = found(bad_buffers=("norm.running_mean", "norm.running_var"))
    assert back.name is SignalName.NONFINITE_BUFFER
    assert back.details["tensors"] == ("norm.running_mean", "norm.running_var")
    parameter, buffer = found(bad_buffers=("a", "b"), bad_parameters=("a",))
    assert (parameter.details["tensors"], buffer.details["tensors"]) == (("a",), ("b",))
    assert names(bad_buffers=("a",), bad_parameters=("a",)) == [SignalName.NONFINITE_PARAMETER]


def test_replaced_values_are_counted() -> None:
    (signal,) = found(sanitized=12)
    assert (signal.name, dict(signal.details)) == (SignalName.SANITIZED_VALUES, {"count": 12})


def test_an_exception_says_what_and_where_and_hides_the_numbers_it_left_unmeasured() -> None:
    (signal,) = found(exception="ValueError: no", exception_where="mine.py:3", loss=NAN, grad_norm=NAN)
    assert signal.name is SignalName.STEP_EXCEPTION
    assert dict(signal.details) == {"exception": "ValueError: no", "where": "mine.py:3"}
    (nowhere,) = found(exception="ValueError: no")
    assert dict(nowhere.details) == {"exception": "ValueError: no"}


@given(st.floats(allow_nan=False, allow_infinity=False), st.floats(0, 1e30))
def test_nothing_is_found_about_a_healthy_update(loss: float, grad_norm: float) -> None:
    assert found(loss=loss, grad_norm=grad_norm) == []


@pytest.mark.parametrize("count", [1, 3, 4])
def test_three_tensors_at_most_are_named_and_all_are_counted(count: int) -> None:
    (signal,) = found(bad_parameters=tuple("abcd")[:count])
    assert signal.details == {"tensors": tuple("abcd")[: min(count, 3)], "tensor_count": count}


def test_the_circumstances_are_the_batches_at_fault_and_the_loss_scale() -> None:
    (signal,) = found(loss=NAN, bad_batches=(0, 2), loss_scale=512.0)
    assert (signal.details["batches"], signal.details["loss_scale"]) == (("0", "2"), 512.0)
