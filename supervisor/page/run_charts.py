"""The charts of one run over its steps: loss and gradient norm, learning rate, ladder, time of a step."""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from itertools import groupby
from typing import Any

from supervisor.page.chart import OVERLAY, Chart, axis, frame, line, shown_axis
from supervisor.page.gathering import RunData
from supervisor.page.labels import hover, label, number, packed
from supervisor.page.looks import SHAPES, rung_color
from supervisor.page.marks import incident_marks, nonfinite_marks, process_marks
from supervisor.page.run_curves import at_incidents, curve, standing, steps_axis
from supervisor.page.thinning import thinned
from supervisor.records import ActionName

__all__ = ["ladder_chart", "rate_chart", "step_time_chart", "training_chart"]

_NO_RUNG = -1


def training_chart(run: RunData, prefix: str) -> Chart:
    """Loss above gradient norm, each with every incident."""
    data: list[dict[str, Any]] = []
    notes: list[str] = []
    for name, said, y, beside in (("loss", "loss", "y", "y3"), ("grad_norm", "gradient norm", "y2", "y4")):
        traces, note = curve(run, name, said, y, always=at_incidents(run))
        data += [{**trace, "showlegend": trace["showlegend"] and y == "y"} for trace in traces]
        notes += note
        steps, values = standing(run, name)
        data += [{**trace, "showlegend": y == "y"} for trace in nonfinite_marks(steps, values, beside, said)]
    data += incident_marks(run, prefix, {"loss": "y", "grad_norm": "y2"})
    data += process_marks(run, prefix, "y3")
    count = len(run.story.incidents)
    layout = frame(
        xaxis=steps_axis(run, anchor="y2"),
        yaxis=shown_axis("loss", run.curves.values["loss"], domain=[0.54, 1]),
        yaxis2=shown_axis("gradient norm", run.curves.values["grad_norm"], domain=[0, 0.46]),
        yaxis3={**OVERLAY, "overlaying": "y"},
        yaxis4={**OVERLAY, "overlaying": "y2"},
    )
    _, losses = standing(run, "loss")
    summary = f"Loss and gradient norm over {len(losses)} logged steps. {_course('The loss', losses)} "
    summary += f"{count} incidents are marked; the table of incidents below has each of them."
    return Chart("Loss and gradient norm", summary, 520, data, layout, tuple(dict.fromkeys(notes)))


def rate_chart(run: RunData, prefix: str) -> Chart:
    """The learning rate as the schedule has it and as it was used, above the scale of the cuts."""
    del prefix
    curves = run.curves
    told, notes = curve(run, "lr", "nominal rate", "y", dotted=True, stands_alone=True)
    steps, rates = standing(run, "lr")
    _, scales = standing(run, "lr_scale")
    used = array("d", (rate * scale for rate, scale in zip(rates, scales, strict=True)))
    changed = [index for index in range(1, len(scales)) if scales[index] != scales[index - 1]]
    kept = thinned(used, always={*changed, *(index - 1 for index in changed)})
    told.append(
        line(
            "rate in use",
            packed([steps[index] for index in kept], "i"),
            packed([used[index] for index in kept]),
            "accent",
            "step %{x}<br>rate in use %{y:.4g}",
            showlegend=True,
            mode="lines+markers" if len(kept) == 1 else "lines",
        )
    )
    scale = curves.scale()
    told.append(
        line(
            "scale of the cuts",
            packed([step for step, _ in scale], "i"),
            packed([value for _, value in scale]),
            "lower_lr",
            "step %{x}<br>scale %{y:.4g}",
            yaxis="y2",
            line={"shape": "hv", "width": 2},
            showlegend=True,
            mode="lines+markers" if len({step for step, _ in scale}) == 1 else "lines",
        )
    )
    layout = frame(
        xaxis=steps_axis(run, anchor="y2"),
        yaxis=axis("rate", fixedrange=True, domain=[0.42, 1], rangemode="tozero", exponentformat="power", nticks=5),
        yaxis2=axis("scale", fixedrange=True, domain=[0, 0.32], rangemode="tozero", nticks=3),
    )
    lowest = min((value for _, value in scale), default=1.0)
    summary = (
        f"Learning rate over the steps. Cuts by the supervisor took it down to {number(lowest)} of the nominal rate."
    )
    if lowest == 1.0:
        summary = "Learning rate over the steps. The supervisor cut it at no time that the log tells of."
    return Chart("Learning rate and its scale", summary, 360, told, layout, tuple(notes))


def ladder_chart(run: RunData, prefix: str) -> Chart | None:
    """Which rung of the ladder was in use at which step; None where there was no incident of the training."""
    incidents = run.story.incidents
    if not incidents:
        return None
    x, y, marks, names = _ladder_walk(run, prefix)
    data = [
        line(
            "rung in use",
            x,
            y,
            "undone",
            "step %{x}",
            line={"shape": "hv", "width": 1.6},
            hoverinfo="skip",
            showlegend=False,
        )
    ]
    data[0].pop("hovertemplate")
    data += [_uses(action, uses) for action, uses in marks.items()]
    rungs = sorted(names)
    layout = frame(
        margin={"l": 128, "r": 12, "t": 10, "b": 44},
        xaxis=steps_axis(run),
        yaxis=axis(
            "",
            fixedrange=True,
            automargin=False,
            tickfont={"size": 11},
            tickmode="array",
            tickvals=[_NO_RUNG, *rungs],
            ticktext=["no incident", *(label(f"{rung} {names[rung]}") for rung in rungs)],
            range=[_NO_RUNG - 0.4, max(rungs, default=_NO_RUNG) + 0.5],
        ),
    )
    used = sum(len(each) for each in marks.values())
    summary = f"The rung of the ladder that was in use at each step: {used} uses in {len(incidents)} incidents."
    return Chart("The ladder over time", summary, 90 + 38 * (len(rungs) + 1), data, layout)


_Use = tuple[int, int, str, str]
"""A use of a rung: step, rung, what is told of it, the anchor of its incident."""


def _ladder_walk(
    run: RunData, prefix: str
) -> tuple[list[int], list[int], dict[ActionName, list[_Use]], dict[int, str]]:
    """The line of the rung in use (steps and rungs), the uses by action, and the names of the rungs."""
    incidents = run.story.incidents
    x: list[int] = [min([*run.curves.step, *(story.record.opened_at_step for story in incidents)])]
    y: list[int] = [_NO_RUNG]
    marks: dict[ActionName, list[_Use]] = {}
    names = dict(enumerate(run.ladder))
    for story in incidents:
        for (rung, action), uses in groupby(
            story.taken, key=lambda taken: (taken.decision.rung, taken.decision.action)
        ):
            group = [*uses]
            steps = [taken.decision.step or 0 for taken in group]
            names.setdefault(rung, str(action))
            often = f" {len(group)} times" if len(group) > 1 else ""
            told = hover([f"incident {story.name}, step {steps[0]}: {action}{often}", group[0].decision.reason])
            marks.setdefault(action, []).append((steps[0], rung, told, f"{prefix}incident-{story.name}"))
            # A reload goes back, and the line with it.
            restored = [taken.applied.restored_step for taken in group if taken.applied is not None]
            path = [steps[0], steps[-1], *(step for step in restored[-1:] if step is not None)]
            x += path
            y += [rung] * len(path)
        closed = story.record.closed_at_step
        x.append(x[-1] if closed is None else closed)
        y.append(_NO_RUNG)
    if story.record.closed_at_step is not None:
        x.append(max([*run.curves.step, *x]))
        y.append(_NO_RUNG)
    return x, y, marks, names


def _uses(action: ActionName, uses: Sequence[_Use]) -> dict[str, Any]:
    """A mark for each use of a rung."""
    return {
        "type": "scatter",
        "mode": "markers",
        "name": str(action),
        "x": [step for step, _, _, _ in uses],
        "y": [rung for _, rung, _, _ in uses],
        "marker": {
            "symbol": SHAPES[action],
            "size": 10,
            "color": rung_color(action),
            "line": {"width": 1.5, "color": "color:ground"},
        },
        "cliponaxis": False,
        "hovertext": [told for _, _, told, _ in uses],
        "hovertemplate": "%{hovertext}<extra></extra>",
        "customdata": [anchor for _, _, _, anchor in uses],
        "showlegend": False,
    }


def step_time_chart(run: RunData, prefix: str) -> Chart:
    """How long a step took, with each worker that was lost."""
    data, notes = curve(run, "step_seconds", "time of a step, in seconds", "y")
    data += process_marks(run, prefix, "y3")
    for life in run.lives:
        if not life.orderly and life.last_step is not None:
            data.append(
                {
                    "type": "scatter",
                    "mode": "lines",
                    "x": [life.last_step, life.last_step],
                    "y": [0, 1],
                    "yaxis": "y3",
                    "line": {"color": "color:ink", "width": 1, "dash": "dot"},
                    "hoverinfo": "skip",
                    "showlegend": False,
                }
            )
    layout = frame(
        xaxis=steps_axis(run),
        yaxis=shown_axis("seconds", run.curves.values["step_seconds"]),
        yaxis3={**OVERLAY, "overlaying": "y"},
    )
    _, seconds = standing(run, "step_seconds")
    finite = sorted(value for value in seconds if math.isfinite(value))
    lost = sum(not life.orderly for life in run.lives)
    middle = number(finite[len(finite) // 2], 3) if finite else "–"
    summary = f"Wall time of each logged step: {middle} s in the middle. {lost} workers were lost."
    return Chart("Time of a step, and restarts", summary, 300, data, layout, tuple(notes))


def _course(what: str, values: Sequence[float]) -> str:
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return f"{what} was finite at none of them."
    return (
        f"{what} went from {number(finite[0])} to {number(finite[-1])}; lowest {number(min(finite))}, "
        f"highest {number(max(finite))}; {len(values) - len(finite)} values were not finite."
    )
