from __future__ import annotations

import math
import struct
from base64 import b64decode
from pathlib import Path
from typing import Any

import pytest
from support.page_runs import PageRun

from supervisor.page.gathering import RunData, gather
from supervisor.page.run_curves import at_incidents, curve, lone, standing, steps_axis


def numbers(packed: dict[str, Any]) -> list[float]:
    data = b64decode(packed["bdata"])
    kind = {"f4": "f", "f8": "d", "i4": "i"}[packed["dtype"]]
    return [*struct.unpack(f"<{len(data) // struct.calcsize(kind)}{kind}", data)]


def test_what_stands_and_what_was_gone_back_over(run: RunData) -> None:
    traces, notes = curve(run, "loss", "loss", "y")
    stands, gone = traces
    assert numbers(stands["x"]) == [*range(10), *range(11, 60)]
    steps, values = numbers(gone["x"]), numbers(gone["y"])
    # The reload went back to 20, the resume to 40; after each stretch the line breaks.
    assert [step for step, value in zip(steps, values, strict=True) if math.isfinite(value)] == [
        *range(20, 30),
        *range(40, 45),
    ]
    assert [step for step, value in zip(steps, values, strict=True) if math.isnan(value)] == [29, 44]
    assert notes == []


def test_of_a_curve_alone_only_what_stands(run: RunData) -> None:
    traces, _ = curve(run, "lr", "rate", "y", stands_alone=True, dotted=True)
    assert [trace["line"]["dash"] for trace in traces] == ["dot"]


def test_the_entries_around_each_incident_are_kept(run: RunData) -> None:
    steps, _ = standing(run, "loss")
    assert [steps[place] for place in at_incidents(run)] == [9, 11, 30, 31]


def test_the_axis_goes_from_the_first_step_to_the_last(run: RunData) -> None:
    low, high = steps_axis(run)["range"]
    assert -2 < low < 0 < 59 < high < 61


@pytest.mark.parametrize(
    ("values", "places"),
    [([], []), ([1.0], [0]), ([1.0, 2.0], []), ([math.nan, 1.0, math.inf, 2.0, 3.0], [1]), ([math.nan], [])],
)
def test_values_that_no_line_goes_to(values: list[float], places: list[int]) -> None:
    assert lone(values) == places


def test_a_finite_value_between_two_that_are_not_is_a_point(tmp_path: Path) -> None:
    run = PageRun(tmp_path)
    run.steps([0], loss=math.nan)
    run.steps([1], loss=7.0)
    run.steps([2], loss=math.nan)
    _, point = curve(gather(str(tmp_path)), "loss", "loss", "y")[0]
    assert (point["mode"], numbers(point["x"]), numbers(point["y"])) == ("markers", [1], [7.0])


def test_a_chart_says_that_a_value_lies_beyond_it(tmp_path: Path) -> None:
    PageRun(tmp_path).steps([0, 1], loss=1e308)
    _, notes = curve(gather(str(tmp_path)), "loss", "loss", "y")
    assert notes == ["a value beyond 1e+100, or nearer to zero than 1e-100, is drawn there"]
