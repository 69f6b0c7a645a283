"""The page as one HTML text: templates, style, script and library put together, every text of others escaped."""

from __future__ import annotations

import json
import re
from datetime import datetime
from importlib.resources import files
from typing import Any

from supervisor.display import shortened, visible
from supervisor.errors import InputError
from supervisor.page.looks import DARK, LIGHT, css_variables

__all__ = ["asset", "json_for_html", "rendered", "require_extra"]

EXTRA = "report"

LONGEST = 6000
"""How much of one text of others a page shows, in characters: a browser stands still over a line of a million."""

_CONTENT_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'unsafe-inline' 'unsafe-eval'",
        "style-src 'unsafe-inline'",
        "img-src data: blob:",
        "base-uri 'none'",
        "form-action 'none'",
    )
)
"""What a browser lets the page do: use what is in it, and fetch nothing at all. Its own scripts do without
`eval`, which tools that look into a page need."""


def require_extra() -> None:
    """See to it that what the page needs is installed.

    Raises:
        InputError: it is not; the message says what to install.
    """
    try:
        import jinja2  # noqa: F401
    except ImportError:
        what = f"pip install 'energy-flow-supervisor[{EXTRA}]'"
        raise InputError(f"supervisor report: needs a package that is not installed, jinja2: {what}") from None


def asset(name: str) -> str:
    """The text of a file that the page is made of."""
    return files("supervisor.page").joinpath("assets", name).read_text(encoding="utf-8")


def rendered(pictures: dict[str, Any], made: datetime, **values: Any) -> str:
    """The page.

    Args:
        pictures: its charts, by the names of their places.
        made: when it was made.
        values: what its template shows.
    """
    import jinja2
    import markupsafe

    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_template),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_finalized,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = lambda value: "–" if value is None else f"{value:,}"
    environment.filters["time"] = lambda value: "–" if value is None else f"{value:%Y-%m-%d %H:%M:%S}"
    library, script = _as_script(asset("plotly-basic.min.js")), _as_script(asset("page.js"))
    data = json_for_html({"charts": pictures, "colors": {"light": LIGHT, "dark": DARK}})
    return environment.get_template("page.html").render(
        **values,
        made=made,
        policy_of_content=_CONTENT_POLICY,
        style=markupsafe.Markup(_style()),
        library=markupsafe.Markup(library),
        script=markupsafe.Markup(script),
        data=markupsafe.Markup(data),
    )


def json_for_html(value: Any) -> str:
    """JSON that may stand in a `script` element: nothing in it ends the element or begins a comment."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False, ensure_ascii=True)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _finalized(value: Any) -> Any:
    """What a template shows of a value: of a text no control character, none that turns the writing round."""
    return visible(shortened(value, LONGEST)) if type(value) is str else value


def _template(name: str) -> str:
    # A page of thousands of incidents is for a good part what their lines are indented by.
    return re.sub(r"^[ \t]+", "", asset(name), flags=re.MULTILINE)


def _style() -> str:
    light, dark = css_variables(LIGHT), css_variables(DARK)
    return asset("page.css").replace("/* light */", light).replace("/* dark */", dark)


def _as_script(text: str) -> str:
    return text.replace("</script", "<\\/script")
