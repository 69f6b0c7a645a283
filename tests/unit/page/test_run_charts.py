from __future__ import annotations

import json
from typing import Any

import pytest

from supervisor.page.chart import Chart
from supervisor.page.gathering import RunData
from supervisor.page.run_charts import ladder_chart, rate_chart, step_time_chart, training_chart

CHARTS = [training_chart, rate_chart, ladder_chart, step_time_chart]


@pytest.mark.parametrize("make", CHARTS)
def test_every_chart_is_one_that_the_library_knows(make: Any, run: RunData) -> None:
    figures = pytest.importorskip("plotly.graph_objects")
    chart: Chart = make(run, "r0-")
    # It raises where a trace or an axis has a key that the library does not know.
    figures.Figure({"data": _in_black(chart.data), "layout": _in_black(chart.layout)})


@pytest.mark.parametrize("make", CHARTS)
def test_every_chart_is_strict_json_and_says_what_it_shows(make: Any, hostile: RunData) -> None:
    chart: Chart = make(hostile, "r0-")
    told = json.dumps(chart.plain(), allow_nan=False)
    assert "<" not in told.replace("<br>", "").replace("<extra></extra>", "")
    assert chart.title
    assert chart.summary


def test_the_ladder_goes_up_and_comes_down(run: RunData) -> None:
    chart = ladder_chart(run, "r0-")
    assert chart is not None
    path, *marks = chart.data
    assert [*zip(path["x"], path["y"], strict=True)] == [
        *((0, -1), (10, 0), (10, 0), (15, -1)),
        *((30, 2), (30, 2), (20, 2), (35, -1)),
        (59, -1),
    ]
    assert [(each["name"], each["x"]) for each in marks] == [("skip_batch", [10]), ("reload_checkpoint", [30])]


def test_what_was_gone_back_over_is_told_apart(run: RunData) -> None:
    names = [trace["name"] for trace in training_chart(run, "").data]
    assert {"loss", "gradient norm", "gone back over", "not finite", "worker lost"} <= set(names)


def test_all_charts_of_a_run_have_one_axis_of_steps(run: RunData) -> None:
    ranges = [chart.layout["xaxis"]["range"] for make in CHARTS if (chart := make(run, "")) is not None]  # type: ignore[operator]
    assert ranges == [ranges[0]] * 4


def _in_black(value: Any) -> Any:
    if isinstance(value, str):
        return "#000000" if value.startswith("color:") else value
    if isinstance(value, list):
        return [_in_black(each) for each in value]
    return {key: _in_black(each) for key, each in value.items()} if isinstance(value, dict) else value
