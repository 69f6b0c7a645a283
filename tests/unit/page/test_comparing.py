from __future__ import annotations

import json
from pathlib import Path

from support.page_runs import PageRun

from supervisor.page.comparing import comparing_charts, names_of
from supervisor.page.gathering import RunData, gather


def test_each_chart_has_a_line_for_each_run(run: RunData, hostile: RunData) -> None:
    for chart in comparing_charts([run, hostile]):
        lines = [trace for trace in chart.data if trace["mode"] == "lines"]
        assert [trace["line"]["color"] for trace in lines] == ["color:run0", "color:run1"]
        assert lines[0]["line"]["dash"] != lines[1]["line"]["dash"]
        assert "<" not in json.dumps(chart.plain(), allow_nan=False).replace("<br>", "").replace("<extra></extra>", "")


def test_two_runs_of_one_name_are_told_apart(run: RunData, hostile: RunData) -> None:
    assert names_of([run, hostile]) == [run.name, hostile.name]
    assert names_of([run, run]) == [f"{run.run_dir} (1)", f"{run.run_dir} (2)"]


def test_all_charts_of_a_comparison_show_the_same_steps(run: RunData, tmp_path: Path) -> None:
    PageRun(tmp_path).steps([200, 300])
    charts = comparing_charts([run, gather(str(tmp_path))])
    (low, high), *others = [chart.layout["xaxis"]["range"] for chart in charts]
    assert low < 0
    assert high > 300
    assert others == [[low, high]] * 2


def test_the_names_of_the_runs_stand_beside_each_other(run: RunData) -> None:
    # One trace with a group, and Plotly writes those without one under each other.
    loss, *_ = comparing_charts([run, run])
    assert not any("legendgroup" in trace for trace in loss.data)


def test_a_run_of_one_step_is_a_point(run: RunData, tmp_path: Path) -> None:
    PageRun(tmp_path).steps([7])
    loss, *_ = comparing_charts([run, gather(str(tmp_path))])
    (point,) = [trace for trace in loss.data if trace["mode"] == "markers" and "line" in trace]
    assert (point["name"], point["marker"]["color"]) == (tmp_path.name, "color:run1")
