"""A measured number of a run over its steps, as charts draw it: what stands, and what was gone back over."""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from typing import Any

from supervisor.page.chart import axis, line
from supervisor.page.gathering import RunData
from supervisor.page.labels import BEYOND, beyond, packed
from supervisor.page.thinning import MOST_POINTS, medians, thinned

__all__ = ["alone", "at_incidents", "curve", "lone", "standing", "steps_axis"]


def curve(
    run: RunData,
    name: str,
    said: str,
    yaxis: str,
    *,
    always: Sequence[int] = (),
    dotted: bool = False,
    stands_alone: bool = False,
) -> tuple[list[dict[str, Any]], list[str]]:
    """One measured number over the steps, and what was gone back over beside it.

    Args:
        run: the run.
        name: of the number, as events call it.
        said: as the page calls it.
        yaxis: where it is drawn.
        always: standing entries, by their place in their order, that are drawn whatever they are.
        dotted: draw it as a dotted line.
        stands_alone: leave out what was gone back over.

    Returns:
        Its traces, and what has to be said of how they were drawn.
    """
    notes: list[str] = []
    steps, values = standing(run, name)
    kept = thinned(values, always)
    dense = len(kept) < len(values)
    if dense:
        notes.append(f"{len(values):,} logged steps; each curve is drawn with the points that the rule below keeps")
    if beyond(run.curves.values[name]):
        notes.append(BEYOND)
    told = f"step %{{x}}<br>{said} %{{y:.5g}}"
    traces = [
        line(
            said,
            packed([steps[index] for index in kept], "i"),
            packed([values[index] for index in kept]),
            "curve",
            told,
            yaxis=yaxis,
            showlegend=stands_alone,
            line={"dash": "dot"} if dotted else {},
            **({"opacity": 0.4} if dense and not stands_alone else {}),
        )
    ]
    traces += alone([steps[index] for index in kept], [values[index] for index in kept], said, told, "curve", yaxis)
    if not stands_alone:
        traces += _median(steps, values, said, yaxis) if dense else []
        traces += _gone_back_over(run, name, told, yaxis)
    return traces, notes


def _median(steps: Sequence[int], values: Sequence[float], said: str, yaxis: str) -> list[dict[str, Any]]:
    """The course of a number of which more points are logged than drawn."""
    course = medians(values)
    return [
        line(
            "median",
            packed([steps[index] for index, _ in course], "i"),
            packed([value for _, value in course]),
            "curve",
            f"around step %{{x}}<br>median of {said} %{{y:.5g}}",
            yaxis=yaxis,
            legendgroup="median",
            showlegend=True,
            line={"width": 2},
        )
    ]


def _gone_back_over(run: RunData, name: str, told: str, yaxis: str) -> list[dict[str, Any]]:
    """What a number was in steps that a reload or a resume went back over since."""
    x, y = array("q"), array("d")
    for stretch in run.curves.gone_back_over():
        x.extend([*run.curves.step[stretch.start : stretch.stop], run.curves.step[stretch.stop - 1]])
        y.extend([*run.curves.values[name][stretch.start : stretch.stop], math.nan])
    if not len(y):
        return []
    kept = thinned(y, most=MOST_POINTS // 2)
    return [
        line(
            "gone back over",
            packed([x[index] for index in kept], "i"),
            packed([y[index] for index in kept]),
            "undone",
            f"{told}<br>gone back over since",
            yaxis=yaxis,
            legendgroup="gone back over",
            showlegend=True,
            mode="lines+markers",
            marker={"size": 3, "color": "color:undone"},
            line={"dash": "dot"},
        )
    ]


def lone(values: Sequence[float]) -> list[int]:
    """The places of values that a line does not show: finite, with none before and none after to draw a line to."""
    known = [False, *map(math.isfinite, values), False]
    return [place for place in range(len(values)) if known[place + 1] and not (known[place] or known[place + 2])]


def alone(
    steps: Sequence[int], values: Sequence[float], said: str, told: str, color: str, yaxis: str = "y"
) -> list[dict[str, Any]]:
    """A trace with the values of a line that it does not show by itself; none where there are none."""
    places = lone(values)
    if not places:
        return []
    return [
        line(
            said,
            packed([steps[place] for place in places], "i"),
            packed([values[place] for place in places]),
            color,
            told,
            yaxis=yaxis,
            showlegend=False,
            mode="markers",
            marker={"size": 4, "color": f"color:{color}"},
        )
    ]


def steps_axis(run: RunData, **more: Any) -> dict[str, Any]:
    """The horizontal axis that all charts of a run share: from its first step to the last one on record."""
    steps = [*run.curves.step, *(story.record.opened_at_step for story in run.story.incidents)]
    steps += [story.record.closed_at_step or 0 for story in run.story.incidents]
    first, last = min(steps, default=0), max(steps, default=1)
    room = max(1.0, 0.01 * (last - first))
    return axis("step", range=[first - room, last + room], **more)


def standing(run: RunData, name: str) -> tuple[list[int], list[float]]:
    """The steps that stand, and a number measured at each."""
    entries = run.curves.standing()
    return [run.curves.step[index] for index in entries], [run.curves.values[name][index] for index in entries]


def at_incidents(run: RunData) -> list[int]:
    """The places, among the standing entries, of those that incidents are marked at."""
    found = (run.curves.place(story.record.opened_at_step) for story in run.story.incidents)
    # With the next one, so that the line goes where the mark lies.
    return [each for place in found if place is not None for each in (place, place + 1)]
