"""Texts of others inside a chart: Plotly reads some HTML in them, so that they are escaped for it."""

from __future__ import annotations

import html
import math
from array import array
from base64 import b64encode
from collections.abc import Iterable, Sequence
from typing import Any

from supervisor.display import in_one_line, shortened

__all__ = ["BEYOND", "beyond", "drawable", "hover", "label", "number", "packed"]

_SMALLEST, _LARGEST = 1e-100, 1e100
BEYOND = f"a value beyond {_LARGEST:.0e}, or nearer to zero than {_SMALLEST:.0e}, is drawn there"
"""What is said below a chart that has such values."""

_LONGEST = 160
# Of the named entities Plotly knows few: a quotation mark stays as it is, which is no order in a text.
_ENTITIES = str.maketrans({"{": "&#123;", "%": "&#37;", "$": "&#36;"})


def label(text: object, longest: int = _LONGEST) -> str:
    """A text as a chart shows it: one line, nothing in it read as HTML, as a template or as a formula."""
    return html.escape(in_one_line(shortened(str(text), longest)), quote=False).translate(_ENTITIES)


def hover(lines: Iterable[object]) -> str:
    """Texts under each other, each escaped."""
    return "<br>".join(label(line) for line in lines)


def number(value: float | None, digits: int = 4) -> str:
    """A number for people: `0.4912`, `1.2e-05`, `nan`; a dash where there is none."""
    return "–" if value is None else f"{value:.{digits}g}"


def drawable(value: float) -> float:
    """The value, or the next one that a chart can draw: axes reckon with squares and with room at both ends."""
    if value == 0 or not math.isfinite(value):
        return value
    return math.copysign(min(max(abs(value), _SMALLEST), _LARGEST), value)


def beyond(values: Iterable[float]) -> bool:
    """Whether one of the values cannot be drawn where it is."""
    return any(value != 0 and math.isfinite(value) and not _SMALLEST <= abs(value) <= _LARGEST for value in values)


def packed(values: Sequence[float], kind: str = "f") -> dict[str, Any]:
    """Numbers as Plotly takes them without a text for each: what is not finite is a gap.

    Args:
        values: the numbers.
        kind: `f` for floats of 32 bits, `d` for 64, `i` for whole numbers of 32 bits.
    """
    names = {"f": "f4", "d": "f8", "i": "i4"}
    if kind == "f":
        values = [drawable(each) for each in values]
        # A float of 32 bits holds no more than 3.4e38: what is larger would become infinite, and vanish.
        kind = (
            "d" if any(math.isfinite(each) and (abs(each) > 1e38 or 0 < abs(each) < 1e-37) for each in values) else kind
        )
    if kind == "i" and any(abs(each) >= 2**31 for each in values):
        kind = "d"
    return {"dtype": names[kind], "bdata": b64encode(array(kind, values).tobytes()).decode("ascii")}
