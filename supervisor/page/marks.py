"""What is marked on the curves of a run: its incidents, the ends of its processes, values that are not finite."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from supervisor.events.step_line import counted
from supervisor.page.chart import may_be_log
from supervisor.page.gathering import RunData
from supervisor.page.labels import drawable, hover
from supervisor.page.looks import SHAPES, rung_color
from supervisor.page.thinning import Gap, gaps
from supervisor.records import ActionName
from supervisor.report.durations import duration
from supervisor.report.story import Story
from supervisor.report.story_view import headline

__all__ = ["answer_of", "incident_marks", "nonfinite_marks", "process_marks"]

MANY = 60
"""From how many incidents on their marks are smaller."""


def answer_of(story: Story) -> ActionName | None:
    """The rung that an incident is marked by: the one used last, which cured it where it is cured."""
    record = story.record
    if record.cured_by is not None:
        return record.cured_by
    return record.decisions[-1].action if record.decisions else None


def incident_marks(
    run: RunData, prefix: str, values: dict[str, str], *, color: str | None = None
) -> list[dict[str, Any]]:
    """A mark for each incident of the training on each curve, in a trace for each rung.

    Args:
        run: the run.
        prefix: of the anchors of its incidents.
        values: the vertical axis of each curve to be marked, by its name.
        color: of all of them, where several runs are told apart by it.
    """
    by_answer: dict[ActionName | None, list[Story]] = {}
    for story in run.story.incidents:
        by_answer.setdefault(answer_of(story), []).append(story)
    traces = []
    for action in [*SHAPES, None]:
        stories = by_answer.get(action, [])
        if not stories:
            continue
        steps = [story.record.opened_at_step for story in stories]
        for index, (name, yaxis) in enumerate(values.items()):
            traces.append(
                {
                    "type": "scatter",
                    "mode": "markers",
                    "name": str(action or "no answer"),
                    # Beside one that has a group, Plotly writes all names that have none under each other.
                    **({} if color else {"legendgroup": str(action)}),
                    "showlegend": index == 0 and color is None,
                    "x": steps,
                    "y": [*_values_at(run, name, steps)],
                    "yaxis": yaxis,
                    "marker": {
                        "symbol": SHAPES[action] if action else "circle-open",
                        "size": 10 if len(run.story.incidents) <= MANY else 7,
                        "color": f"color:{color}" if color else rung_color(action),
                        "line": {"width": 1.5, "color": "color:ground"},
                    },
                    "cliponaxis": False,
                    "hovertext": [_told(story) for story in stories],
                    "hovertemplate": "%{hovertext}<extra></extra>",
                    "customdata": [f"{prefix}incident-{story.name}" for story in stories],
                }
            )
    return traces


def process_marks(run: RunData, prefix: str, yaxis: str) -> list[dict[str, Any]]:
    """A mark for each end of a worker that was not meant, at the last step that it told of.

    Args:
        run: the run.
        prefix: of the anchors of its incidents and processes.
        yaxis: an axis from 0 to 1.
    """
    lost = [life for life in run.lives if not life.orderly]
    if not lost:
        return []
    incidents = {story.record.life: story.name for story in run.story.processes}
    return [
        {
            "type": "scatter",
            "mode": "markers",
            "name": "worker lost",
            "x": [life.last_step if life.last_step is not None else (life.from_step or 0) for life in lost],
            "y": [0.96] * len(lost),
            "yaxis": yaxis,
            "marker": {"symbol": "triangle-down-open", "size": 11, "color": "color:ink", "line": {"width": 1.6}},
            "cliponaxis": False,
            "hovertext": [
                hover(
                    each
                    for each in (
                        f"worker {life.number} was lost: {life.how}",
                        None if life.last_step is None else f"it last told of step {life.last_step}",
                        life.why,
                    )
                    if each
                )
                for life in lost
            ],
            "hovertemplate": "%{hovertext}<extra></extra>",
            "customdata": [f"{prefix}{incidents.get(life.number, f'life-{life.number}')}" for life in lost],
        }
    ]


def nonfinite_marks(steps: Sequence[int], values: Sequence[float], yaxis: str, name: str) -> list[dict[str, Any]]:
    """A mark at the foot of a curve for each value that is not finite, or for a row of them.

    Args:
        steps: the curve's steps.
        values: its values.
        yaxis: an axis from 0 to 1.
        name: of the curve.
    """
    found = gaps(values)
    if not found:
        return []
    x: list[int | None] = []
    told: list[str] = []
    for gap in found:
        x += [steps[gap.first], steps[gap.last], None]
        told += [_told_gap(gap, steps, name)] * 3
    return [
        {
            "type": "scatter",
            "mode": "lines+markers",
            "name": "not finite",
            "legendgroup": "not finite",
            "x": x,
            "y": [0.03] * len(x),
            "yaxis": yaxis,
            "marker": {"symbol": "x-thin", "size": 8, "line": {"width": 2, "color": "color:bad"}},
            "line": {"width": 2, "color": "color:bad"},
            "hovertext": told,
            "hovertemplate": "%{hovertext}<extra></extra>",
        }
    ]


def _told_gap(gap: Gap, steps: Sequence[int], name: str) -> str:
    first, last, words = steps[gap.first], steps[gap.last], " and ".join(gap.words)
    if gap.count == 1:
        return hover([f"step {first}: {name} is {words}"])
    return hover([f"steps {first} to {last}: {name} is {words} at {gap.count} of them"])


def _told(story: Story) -> str:
    record = story.record
    cost = f"{counted(record.cost.steps_lost, 'step')} and {duration(record.cost.seconds)}"
    cause = [] if record.cause is None else [f"cause: {record.cause.kind}"]
    return hover([f"incident {record.id}: {headline(story)}", *cause, f"cost: {cost}"])


def _values_at(run: RunData, name: str, steps: Iterable[int]) -> Iterator[float]:
    """For each step the value that the line of a curve has there, so that a mark lies on it.

    Where one of the two logged values around it is not finite, it is the last finite one before it, or the first after
    it; where none that stands is finite, any that is drawn, or the middle of an axis that has no values.
    """
    curves = run.curves
    standing = curves.standing()
    values = [drawable(curves.values[name][entry]) for entry in standing]
    finite = [place for place, value in enumerate(values) if math.isfinite(value)]
    other = next((drawable(each) for each in curves.values[name] if math.isfinite(each)), 0.5)
    log = may_be_log(curves.values[name])
    for step in steps:
        place = curves.place(step)
        if place is None or not finite:
            yield other
            continue
        before, after = place, min(place + 1, len(values) - 1)
        low, high = curves.step[standing[before]], curves.step[standing[after]]
        if low <= step < high and math.isfinite(values[before]) and math.isfinite(values[after]):
            share = (step - low) / (high - low)
            value = _between(values[before], values[after], share, log=log)
        else:
            value = values[finite[max(0, bisect_right(finite, place) - 1)]]
        # A page of thousands of incidents is for a good part the digits of their places.
        yield float(f"{value:.6g}")


def _between(before: float, after: float, share: float, *, log: bool) -> float:
    if log:
        return math.exp((1 - share) * math.log(before) + share * math.log(after))
    return (1 - share) * before + share * after
