"""Norms of many tensors at once: every kind of tensor, in order, and what a norm cannot tell."""

from __future__ import annotations

import math

import pytest
import torch

from supervisor.training.norms import all_finite, extremes, first_bad, norms_on_host


class TestAllFinite:
    def test_no_tensor_and_no_element_is_finite(self) -> None:
        assert all_finite([])
        assert all_finite([torch.zeros(0), torch.arange(3), torch.tensor([True])])

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.complex64])
    def test_every_type_is_looked_at(self, dtype: torch.dtype) -> None:
        tensor = torch.ones(5, dtype=dtype)
        assert all_finite([torch.ones(2), tensor])
        tensor[3] = math.nan
        assert not all_finite([torch.ones(2), tensor])

    @pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2])
    def test_numbers_of_8_bits_are_looked_at_too(self, dtype: torch.dtype) -> None:
        """As frozen weights are kept in."""
        tensor = torch.tensor([2.0, -4.0, 1.0])
        assert all_finite([torch.ones(2), tensor.to(dtype)])
        assert norms_on_host([torch.ones(1), tensor.to(dtype)]) == pytest.approx([1.0, 21**0.5])
        assert [float(each) for each in extremes([tensor.to(dtype)])] == [-4.0, 2.0]
        assert not all_finite([torch.ones(2), torch.tensor([1.0, math.nan]).to(dtype)])

    @pytest.mark.parametrize("value", [3.4e38, 1e30, -1e25])
    def test_large_finite_values_are_finite(self, value: float) -> None:
        assert all_finite([torch.full((1000,), value), torch.ones(3)])

    def test_a_large_value_does_not_hide_a_nan(self) -> None:
        assert not all_finite([torch.full((10,), 1e30), torch.tensor([1.0, math.nan, 1.0, 1.0])])

    def test_sparse_tensors(self) -> None:
        sparse = torch.sparse_coo_tensor(torch.tensor([[1]]), torch.tensor([math.nan]), (4,), check_invariants=True)
        assert not all_finite([sparse])


def test_norms_come_in_the_order_of_the_tensors_whatever_their_kinds() -> None:
    held = [
        torch.full((4,), 1.0, dtype=torch.float64),
        torch.full((4,), 2.0),
        torch.tensor([3 + 4j]),
        torch.full((9,), 1.0, dtype=torch.bfloat16),
        torch.full((4,), 3.0),
    ]
    assert norms_on_host(held) == [2.0, 4.0, 5.0, 3.0, 6.0]
    assert norms_on_host(held[1:2] * 2) == [4.0, 4.0]
    assert norms_on_host([]) == []


def test_those_that_are_bad_are_named_and_large_ones_are_not() -> None:
    held = [("good", torch.ones(2)), ("nan", torch.tensor([1.0, math.nan])), ("large", torch.full((3,), 1e30))]
    assert first_bad(held) == ("nan",)
    assert first_bad(held[::2]) == ()


def test_a_sparse_tensor_without_a_value_has_nothing_large_in_it() -> None:
    empty = torch.sparse_coo_tensor(torch.zeros(2, 0, dtype=torch.long), torch.zeros(0), (3, 3), check_invariants=True)
    assert [float(each) for each in extremes([empty, torch.tensor([-3.0, 1.0])])] == [0.0, 0.0, -3.0, 1.0]
