from __future__ import annotations

import math

import pytest

from supervisor.page.chart import Chart, axis, frame, line, may_be_log, shown_axis


@pytest.mark.parametrize(
    ("values", "log"),
    [([1.0, 2.0, math.nan], True), ([0.0, 1.0], False), ([-1.0], False), ([math.nan], False), ([], False)],
)
def test_an_axis_is_logarithmic_where_it_shows_every_value(values: list[float], log: bool) -> None:
    assert may_be_log(values) is log
    assert (shown_axis("loss", values).get("type") == "log") is log


@pytest.mark.parametrize(("values", "ticks"), [([1.0, 2.0], "nticks"), ([1.0, 50.0], "D2"), ([1e-9, 1.0], 1)])
def test_a_logarithmic_axis_has_a_few_ticks(values: list[float], ticks: object) -> None:
    shown = shown_axis("loss", values)
    assert "nticks" in shown if ticks == "nticks" else shown["dtick"] == ticks


def test_a_chart_as_the_script_draws_it() -> None:
    curve = line("loss", [1], [2], "curve", "step %{x}")
    chart = Chart("t", "s", 120, [curve], frame(xaxis=axis("step")))
    plain = chart.plain()
    assert plain["layout"]["height"] == 120
    assert plain["linked"] is True
    assert plain["data"][0]["line"]["color"] == "color:curve"
    assert plain["data"][0]["connectgaps"] is False


def test_values_of_hundreds_of_decades_have_a_few_ticks_too() -> None:
    assert shown_axis("loss", [1e-320, 1e308])["dtick"] == 20


def test_an_axis_without_any_value_names_none() -> None:
    shown = shown_axis("loss", [math.nan, math.inf])
    assert (shown["showticklabels"], shown["range"]) == (False, [0, 1])
    assert shown["title"]["text"] == "loss (never finite)"


def test_a_long_list_that_two_traces_share_stands_there_once() -> None:
    steps, told = [*range(50)], ["a long text"] * 50
    first = {"type": "scatter", "x": steps, "y": [1.0] * 50, "hovertext": told}
    one, other = Chart("t", "s", 120, [first, {**first, "y": [2.0] * 50}], frame()).plain()["data"]
    assert one == {**first, "asBefore": []}
    assert other == {"type": "scatter", "y": [2.0] * 50, "asBefore": ["x", "hovertext"]}
