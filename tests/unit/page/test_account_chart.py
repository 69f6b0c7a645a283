from __future__ import annotations

import math

from supervisor.events.time_account import TimeAccount
from supervisor.page.account_chart import MEANINGS, account_chart
from supervisor.page.gathering import RunData


def test_the_bar_adds_up_to_the_wall_time(run: RunData) -> None:
    chart = account_chart([("run", run)])
    assert chart is not None
    account = run.story.status.account
    assert account is not None
    assert math.isclose(sum(trace["x"][0] for trace in chart.data), account.seconds)
    assert "training" in chart.summary


def test_every_part_of_the_account_has_its_meaning() -> None:
    assert MEANINGS.keys() == TimeAccount().parts.keys()


def test_runs_have_a_bar_each(run: RunData, hostile: RunData) -> None:
    chart = account_chart([("a", run), (hostile.name, hostile)])
    assert chart is not None
    assert chart.data[0]["y"][0] == "a"
    assert "<" not in chart.data[0]["y"][1]
