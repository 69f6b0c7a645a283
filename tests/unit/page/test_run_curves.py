from __future__ import annotations

import math
import struct
from base64 import b64decode
from typing import Any

from supervisor.page.gathering import RunData
from supervisor.page.run_curves import at_incidents, curve, standing, steps_axis


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
