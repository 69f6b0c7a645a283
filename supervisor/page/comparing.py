"""Several runs on one page: their curves over each other, and their figures side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from supervisor.page.chart import Chart, axis, frame, line, shown_axis
from supervisor.page.gathering import RunData
from supervisor.page.labels import BEYOND, beyond, label, packed
from supervisor.page.looks import DASHES
from supervisor.page.marks import incident_marks
from supervisor.page.thinning import MOST_POINTS, thinned

__all__ = ["comparing_charts", "names_of"]

_COLORS = 7
_CURVES = (("loss", "loss"), ("grad_norm", "gradient norm"), ("step_seconds", "seconds a step"))


def names_of(runs: Sequence[RunData]) -> list[str]:
    """A name for each run: that of its directory, or more of its path where two have the same."""
    names = [run.name for run in runs]
    return [run.run_dir if names.count(run.name) > 1 else run.name for run in runs]


def comparing_charts(runs: Sequence[RunData]) -> list[Chart]:
    """A chart for each measured number, with a line for each run."""
    found = []
    most = max(500, 2 * MOST_POINTS // len(runs))
    for name, said in _CURVES:
        data: list[dict[str, Any]] = []
        thin = False
        for index, (run, called) in enumerate(zip(runs, names_of(runs), strict=True)):
            standing = run.curves.standing()
            values = [run.curves.values[name][entry] for entry in standing]
            kept = thinned(values, most=most)
            thin = thin or len(kept) < len(values)
            color = f"run{index % _COLORS}"
            data.append(
                line(
                    label(called, 40),
                    packed([run.curves.step[standing[place]] for place in kept], "i"),
                    packed([values[place] for place in kept]),
                    color,
                    f"{label(called, 40)}<br>step %{{x}}<br>{said} %{{y:.5g}}",
                    line={"dash": DASHES[index % len(DASHES)], "width": 1.6},
                )
            )
            if name == "loss":
                data += incident_marks(run, f"r{index}-", {"loss": "y"}, color=color)
        every = [value for run in runs for value in run.curves.values[name]]
        layout = frame(xaxis=axis("step"), yaxis=shown_axis(said, every))
        notes = ["each curve is drawn with the points that the rule below keeps"] if thin else []
        notes += [BEYOND] if beyond(every) else []
        summary = f"{said} over the steps of {len(runs)} runs"
        found.append(Chart(said[0].upper() + said[1:], summary, 360, data, layout, tuple(notes)))
    return found
