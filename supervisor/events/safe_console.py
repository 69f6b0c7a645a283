"""A console that shows what others have written without obeying it, on a stream that may be anything."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from supervisor.display import visible
from supervisor.streams import SteadyStream

__all__ = ["SafeConsole", "console_on_stdout"]


class SafeConsole(Console):
    """A console of Rich's on which control characters in a text are printed as escapes; its own colours stay."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """As Rich's, each piece of text cleaned."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(visible(segment.text), segment.style)


def console_on_stdout(**options: Any) -> SafeConsole:
    """A console on the standard output as it is now; writing to it raises nothing."""
    return SafeConsole(file=SteadyStream(sys.stdout, "stdout"), highlight=False, **options)  # type: ignore[arg-type]
