"""The figures of a page are those of `supervisor status --json` and `supervisor explain --json`."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from support.page_runs import HOSTILE, PageRun, eventful, step_event
from typer.testing import CliRunner

from supervisor.cli.app import app
from supervisor.events import schema
from supervisor.page.building import build_page
from supervisor.page.labels import number
from supervisor.report.durations import duration


class Told(HTMLParser):
    """The headline figures of a page, and the names in its table of incidents."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.anchors: list[str] = []
        self._inside = 0
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag == "dl" and values.get("class") == "figures":
            self._inside = 1
        if tag == "tbody" and (values.get("id") or "").startswith("r0-"):
            self.anchors.append((values["id"] or "").removeprefix("r0-").removeprefix("incident-"))

    def handle_endtag(self, tag: str) -> None:
        if tag == "dl":
            self._inside = 0

    def handle_data(self, data: str) -> None:
        if self._inside and data.strip():
            self.texts.append(data.strip())

    def figure(self, name: str) -> str:
        return self.texts[self.texts.index(name) + 1]


def went_back_often(folder: Path) -> None:
    run, update = PageRun(folder), 0
    run.worker(schema.RunStartedEvent(steps=60))
    for number_of in range(1, 51):
        for step in range(20 if number_of > 1 else 0, 40):
            run.worker(step_event(step, update, 1.0 / (step + number_of)))
            update += 1
        run.reload(number_of, 40, update, 20)
        update += 1


def mostly_void(folder: Path) -> None:
    run = PageRun(folder)
    run.worker(schema.RunStartedEvent(steps=500))
    run.steps(range(300))
    run.incident(1, 300)
    run.dies()
    run.parent(schema.WorkerStartedEvent(pid=8, restarts=1))
    run.worker(schema.RunResumedEvent(step=3, update=3, checkpoint_step=3))
    run.steps(range(3, 6))


def extreme(folder: Path) -> None:
    run = PageRun(folder)
    run.worker(schema.RunStartedEvent(steps=60))
    for step, loss in enumerate([1e308, -1e308, 0.0, 1e-320, math.nan, math.inf]):
        run.worker(step_event(step, step, loss))
    run.incident(1, 6)


def torn(folder: Path) -> None:
    run = eventful(folder)
    with run.layout.rank_events.open("a", encoding="utf-8") as file:
        file.write('{"schema": 1, "time": "20')


def of_sixteen_ranks(folder: Path) -> None:
    run = eventful(folder)
    for rank in range(1, 16):
        run.rank(rank, *(step_event(step, step, 1.0) for step in range(70)))


def without_records(folder: Path) -> None:
    run = eventful(folder)
    (run.layout.incident(1) / "incident.json").unlink()


def of_a_guard_alone(folder: Path) -> None:
    run = PageRun(folder)
    run.worker(schema.RunStartedEvent(steps=10))
    run.steps(range(4))
    run.incident(1, 4)


def hostile(folder: Path) -> None:
    eventful(folder, HOSTILE)


def read(command: str, folder: Path) -> dict[str, Any]:
    result = CliRunner().invoke(app, [command, str(folder), "--json"])
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


@pytest.mark.parametrize(
    "write",
    [
        eventful,
        hostile,
        went_back_often,
        mostly_void,
        extreme,
        torn,
        of_sixteen_ranks,
        without_records,
        of_a_guard_alone,
    ],
)
def test_the_page_says_what_status_and_explain_say(write: Callable[[Path], object], tmp_path: Path) -> None:
    write(tmp_path)
    status, story = read("status", tmp_path), read("explain", tmp_path)
    told = Told(build_page([str(tmp_path)]))
    assert told.figure("Steps") == f"{status['step']:,}"
    assert told.figure("Goodput") == ("–" if status["goodput"] is None else f"{status['goodput']:.1%}")
    assert told.figure("Incidents") == str(status["incidents"])
    assert told.figure("Cured") == str(sum(status["cured_by"].values()))
    assert told.figure("Loss") == number(float(status["loss"]))
    seconds = status["mttr_seconds"]
    assert told.figure("Time to recover") == ("–" if seconds is None else duration(seconds))
    assert told.figure("Steps lost") == str(sum(each["cost"]["steps_lost"] for each in story["incidents"]))
    assert told.anchors == story["in_time"]
