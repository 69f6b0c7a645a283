"""A chart as Plotly takes it, and what all charts of a page share.

A chart is data: what is drawn, and where. A text `color:NAME` in it stands for a colour of `looks`, which the page puts
in, so that one chart serves the light and the dark theme.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from supervisor.page.labels import drawable

__all__ = ["OVERLAY", "Chart", "axis", "frame", "line", "may_be_log", "shown_axis"]

_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
OVERLAY = {
    "overlaying": "y",
    "range": [0, 1],
    "fixedrange": True,
    "visible": False,
}
"""An axis beside another one for marks at its top or its foot, whatever the values are."""


_LISTS = ("x", "hovertext", "customdata")
_LONG = 20


@dataclass(frozen=True, slots=True)
class Chart:
    """One figure of a page.

    Attributes:
        title: its heading.
        summary: what it shows, for those who do not see it.
        height: in pixels.
        data: its traces.
        layout: its axes and the rest.
        notes: what a reader has to know of how it was drawn.
        linked: whether its horizontal axis counts steps, and moves with those of the other charts of its run.
    """

    title: str
    summary: str
    height: int
    data: list[dict[str, Any]]
    layout: dict[str, Any]
    notes: tuple[str, ...] = ()
    linked: bool = True

    def plain(self) -> dict[str, Any]:
        """What the page's script draws; a long list that the trace before has too stands there alone."""
        before: dict[str, Any] = {}
        data = []
        for trace in self.data:
            same = [key for key in _LISTS if key in trace and trace[key] == before.get(key) and len(trace[key]) > _LONG]
            data.append({**{key: value for key, value in trace.items() if key not in same}, "asBefore": same})
            before = trace
        return {"data": data, "layout": {**self.layout, "height": self.height}, "linked": self.linked}


def frame(**more: Any) -> dict[str, Any]:
    """The layout that all charts share."""
    return {
        "margin": {"l": 128, "r": 12, "t": 34, "b": 44},
        "paper_bgcolor": "color:ground",
        "plot_bgcolor": "color:ground",
        "font": {"family": _FONT, "size": 12, "color": "color:quiet"},
        "hovermode": "closest",
        "hoverdistance": 24,
        "hoverlabel": {
            "align": "left",
            "bgcolor": "color:panel",
            "bordercolor": "color:line",
            "font": {"family": _FONT, "size": 12, "color": "color:ink"},
        },
        "legend": {
            "orientation": "h",
            "x": 0,
            "y": 1.0,
            "xanchor": "left",
            "yanchor": "bottom",
            "itemsizing": "constant",
        },
        "dragmode": "zoom",
        "uirevision": "kept",
        **more,
    }


def axis(title: str, **more: Any) -> dict[str, Any]:
    """An axis, named."""
    return {
        "title": {"text": title, "standoff": 8},
        "gridcolor": "color:grid",
        "linecolor": "color:line",
        "tickcolor": "color:line",
        "zeroline": False,
        "automargin": True,
        **more,
    }


def shown_axis(title: str, values: Sequence[float], **more: Any) -> dict[str, Any]:
    """A vertical axis that a reader does not zoom: the steps alone are. It is logarithmic where that shows every value.

    Args:
        title: what is measured.
        values: all that is drawn.
        more: what else is to be said of it.
    """
    if values and not any(map(math.isfinite, values)):
        return axis(f"{title} (never finite)", fixedrange=True, showticklabels=False, range=[0, 1], **more)
    if not may_be_log(values):
        return axis(title, fixedrange=True, nticks=6, **more)
    finite = [drawable(value) for value in values if math.isfinite(value)]
    decades = math.log10(max(finite)) - math.log10(min(finite))
    ticks: dict[str, Any] = {"nticks": 5} if decades < 0.6 else {"dtick": "D2"} if decades < 2.5 else {}
    ticks = ticks or {"dtick": math.ceil(decades / 10)}
    return axis(title, fixedrange=True, type="log", tickformat="~g", **ticks, **more)


def may_be_log(values: Sequence[float]) -> bool:
    """Whether a logarithmic axis shows every finite value."""
    finite = [value for value in values if math.isfinite(value)]
    return bool(finite) and min(finite) > 0


def line(name: str, x: Any, y: Any, color: str, told: str, **more: Any) -> dict[str, Any]:
    """A curve.

    Args:
        name: of it, as the legend has it; escaped already where it is a text of others.
        x: its steps, packed.
        y: its values, likewise.
        color: name of its colour.
        told: what is said of a point: a template of Plotly's.
        more: what else is to be said of it.
    """
    style = {"color": f"color:{color}", "width": 1.4, **more.pop("line", {})}
    return {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "x": x,
        "y": y,
        "line": style,
        "connectgaps": False,
        "hovertemplate": f"{told}<extra></extra>",
        **more,
    }
