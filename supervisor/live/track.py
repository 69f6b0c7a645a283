"""The tracks of the live view: the bar, the losses, and below them the marks of what went wrong."""

from __future__ import annotations

from collections.abc import Iterable

from rich.text import Text

from supervisor.live.glyphs import Glyphs
from supervisor.live.loss_curve import columns_of, heights_of
from supervisor.live.picture import Picture

__all__ = ["bar", "loss_track", "marks_track"]


def bar(step: int, steps: int | None, width: int, glyphs: Glyphs) -> Text:
    """How much of the schedule is done; all of it is still to come where its end is not known."""
    done = 0 if steps is None else width * min(step, steps) // steps
    return Text.assemble((glyphs.done * done, "cyan"), (glyphs.left * (width - done), "dim"))


def loss_track(picture: Picture, width: int, glyphs: Glyphs) -> Text:
    """The losses over all steps so far."""
    track = Text()
    if width <= 0:
        return track
    for height in heights_of(columns_of(picture.losses, width, _steps_so_far(picture)), len(glyphs.levels)):
        if height is None:
            track.append(" ")
        elif height < 0:
            track.append(glyphs.odd, "bold red")
        else:
            track.append(glyphs.levels[height], "cyan")
    return track


def marks_track(picture: Picture, width: int, glyphs: Glyphs) -> Text:
    """Over the same steps: incidents, and deaths of the worker, which stand before them where both fall together."""
    cells: list[tuple[str, str]] = [(" ", "")] * max(width, 0)
    steps = _steps_so_far(picture)
    _mark(cells, picture.incident_steps, steps, (glyphs.incident, "yellow"))
    _mark(cells, picture.restart_steps, steps, (glyphs.restart, "bold red"))
    return Text.assemble(*cells) if cells else Text()


def _mark(cells: list[tuple[str, str]], at: Iterable[int], steps: int, sign: tuple[str, str]) -> None:
    for step in at:
        if cells:
            cells[min(len(cells) - 1, step * len(cells) // steps)] = sign


def _steps_so_far(picture: Picture) -> int:
    last = picture.losses[-1][0] + 1 if picture.losses else 0
    return max(picture.step, last, 1)
