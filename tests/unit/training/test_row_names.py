"""Rows are named by plain numbers and texts, however a sampler asks for them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from supervisor.training.row_names import row_name, row_names


@pytest.mark.parametrize(
    ("index", "name"),
    [
        (3, 3),
        ("a", "a"),
        (np.int64(3), 3),
        (np.str_("a"), "a"),
        (torch.tensor(3), 3),
        ((3, 224), None),
        ([3, 224], None),
        ({"i": 3}, None),
        (3.0, None),
        (torch.tensor(3.0), None),
        (torch.tensor([3, 4]), None),
        (None, None),
    ],
)
def test_a_number_or_a_text_is_a_name_and_nothing_else(index: Any, name: Any) -> None:
    found = row_name(index)
    assert (found, type(found)) == (name, type(name))


def test_where_one_row_has_no_name_none_is_told() -> None:
    assert row_names([torch.tensor(3), "a"]) == [3, "a"]
    assert row_names([3, (3, 4)]) is None
