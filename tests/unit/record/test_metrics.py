"""What a user's evaluation may return, and what becomes of it."""

from __future__ import annotations

import enum
import math
from typing import Any

import numpy as np
import pytest
import torch

from supervisor.record.metrics import metrics_in


class Split(enum.Enum):
    TEST = 1


class Unspeakable:
    def __str__(self) -> str:
        raise ValueError("no")


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (1, 1.0),
        (True, 1.0),
        (0.25, 0.25),
        (np.float32(0.5), 0.5),
        (torch.tensor(0.5, requires_grad=True), 0.5),
        (torch.tensor([[2]]), 2.0),
        (math.inf, math.inf),
    ],
)
def test_a_number_is_a_number_whatever_it_comes_in(value: Any, number: float) -> None:
    assert metrics_in({"x": value}) == ({"x": number}, [])


def test_a_nan_is_recorded() -> None:
    metrics, left_out = metrics_in({"x": math.nan})
    assert math.isnan(metrics["x"])
    assert left_out == []


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, "metric x: None: left out; return a number"),
        ("0.5", "metric x: a str: left out; return a number"),
        (torch.zeros(3), "metric x: a Tensor ("),
        (torch.tensor(1j), "metric x: a Tensor ("),
        ([0.5], "metric x: a list (TypeError: "),
        (10**400, "metric x: an int (OverflowError: "),
        (torch.zeros((), device="meta"), "metric x: a Tensor ("),
    ],
)
def test_what_is_no_number_is_said_and_the_rest_recorded(value: Any, said: str) -> None:
    metrics, (line,) = metrics_in({"before": 1, "x": value, "after": 2})
    assert metrics == {"before": 1.0, "after": 2.0}
    assert line.startswith(said)


def test_names_that_are_no_text_are_recorded_by_their_text() -> None:
    metrics, left_out = metrics_in({0: 1, ("top", 5): 2, Split.TEST: 3, None: 4, "caf\udce9": 5, Unspeakable(): 6})
    assert left_out == []
    expected = {"0": 1, "('top', 5)": 2, "Split.TEST": 3, "None": 4, "caf\\udce9": 5, "of a Unspeakable": 6}
    assert metrics == expected
    for name in metrics:
        name.encode()


def test_of_two_things_of_one_name_the_first_is_recorded() -> None:
    assert metrics_in({1: 0.5, "1": 0.75}) == (
        {"1": 0.5},
        ["metric 1: its name comes twice: only the first is recorded"],
    )


def test_mappings_in_mappings_have_dotted_names_and_one_that_holds_itself_an_end() -> None:
    held: dict[str, Any] = {"val": {"mrr": 0.5, "by": {"short": 1}}, "loss": 2.0}
    assert metrics_in(held) == ({"val.mrr": 0.5, "val.by.short": 1.0, "loss": 2.0}, [])
    held = {"x": 1.0}
    held["me"] = held
    metrics, left_out = metrics_in(held)
    assert metrics == {"x": 1.0, "me.x": 1.0, "me.me.x": 1.0, "me.me.me.x": 1.0}
    assert left_out == ["metric me.me.me.me: lies deeper than 4 mappings: left out"]


@pytest.mark.parametrize("returned", [None, 3, "mrr 0.5", [("mrr", 0.5)], torch.zeros(2)])
def test_anything_but_a_mapping_is_said(returned: object) -> None:
    metrics, (line,) = metrics_in(returned)
    assert metrics == {}
    assert line.startswith("evaluate returned ")
    assert line.endswith(": return a dictionary of names and numbers")


def test_of_very_many_the_first_are_recorded() -> None:
    metrics, (line,) = metrics_in({f"class {index}": index for index in range(5000)})
    assert (len(metrics), line) == (1000, "evaluate returned 5000 metrics: the first 1000 are recorded")
