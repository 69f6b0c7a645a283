"""The plain records of a forecast: comparable, and writable as JSON by way of `asdict`."""

from __future__ import annotations

import json
from dataclasses import asdict

from supervisor.headroom import Forecast, Headroom, Quantity


def test_what_was_measured_goes_through_json() -> None:
    seen = Headroom({"w": 0.5}, {"w": 65504.0}, 1.25, "w", 1000.0)
    assert Headroom(**json.loads(json.dumps(asdict(seen)))) == seen


def test_a_forecast_is_of_one_parameter_unless_it_says_more() -> None:
    forecast = Forecast(Quantity.WEIGHT_NORM, "w", 1.0, 10.0, 0.01, 230)
    assert (forecast.others, forecast.bits) == (0, None)
    assert [*Quantity] == ["weight_norm", "largest_weight", "half_range", "gradient_norm"]
