"""Several runs on one page: their curves over each other, and their figures side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from supervisor.page.chart import Chart, axis, frame, line, shown_axis
from supervisor.page.gathering import RunData
from supervisor.page.labels import BEYOND, beyond, label, packed
from supervisor.page.looks import DASHES
from supervisor.page.marks import incident_marks
from supervisor.page.run_curves import alone, steps_axis
from supervisor.page.thinning import MOST_POINTS, thinned

__all__ = ["comparing_charts", "names_of"]

_COLORS = 7
_CURVES = (("loss", "loss"), ("grad_norm", "gradient norm"), ("step_seconds", "seconds a step"))


def names_of(runs: Sequence[RunData]) -> list[str]:
    """A name for each run: that of its directory, or more of its path where two have the same; no two are the same."""
    plain = [run.name for run in runs]
    names = [run.run_dir if plain.count(run.name) > 1 else run.name for run in runs]
    return [
        f"{name} ({names[: index + 1].count(name)})" if names.count(name) > 1 else name
        for index, name in enumerate(names)
    ]


def comparing_charts(runs: Sequence[RunData]) -> list[Chart]:
    """A chart for each measured number, with a line for each run."""
    found = []
    ranges = [steps_axis(run)["range"] for run in runs]
    low, high = min(first for first, _ in ranges), max(last for _, last in ranges)
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
            title = label(called, 40)
            told = f"{title}<br>step %{{x}}<br>{said} %{{y:.5g}}"
            x, y = [run.curves.step[standing[place]] for place in kept], [values[place] for place in kept]
            style = {"dash": DASHES[index % len(DASHES)], "width": 1.6}
            data.append(line(title, packed(x, "i"), packed(y), color, told, line=style))
            data += alone(x, y, title, told, color)
            if name == "loss":
                data += incident_marks(run, f"r{index}-", {"loss": "y"}, color=color)
        every = [value for run in runs for value in run.curves.values[name]]
        layout = frame(xaxis=axis("step", range=[low, high]), yaxis=shown_axis(said, every))
        notes = ["each curve is drawn with the points that the rule below keeps"] if thin else []
        notes += [BEYOND] if beyond(every) else []
        summary = f"{said} over the steps of {len(runs)} runs"
        found.append(Chart(said[0].upper() + said[1:], summary, 360, data, layout, tuple(notes)))
    return found
