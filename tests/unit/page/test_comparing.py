from __future__ import annotations

import json

from supervisor.page.comparing import comparing_charts, names_of
from supervisor.page.gathering import RunData


def test_each_chart_has_a_line_for_each_run(run: RunData, hostile: RunData) -> None:
    for chart in comparing_charts([run, hostile]):
        lines = [trace for trace in chart.data if trace["mode"] == "lines"]
        assert [trace["line"]["color"] for trace in lines] == ["color:run0", "color:run1"]
        assert lines[0]["line"]["dash"] != lines[1]["line"]["dash"]
        assert "<" not in json.dumps(chart.plain(), allow_nan=False).replace("<br>", "").replace("<extra></extra>", "")


def test_two_runs_of_one_name_are_told_apart(run: RunData, hostile: RunData) -> None:
    assert names_of([run, hostile]) == [run.name, hostile.name]
    assert names_of([run, run]) == [run.run_dir] * 2
