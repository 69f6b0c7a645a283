"""The rows of the live view, as wide and as high as there is room for."""

from __future__ import annotations

from rich.text import Text

from supervisor.display import in_one_line
from supervisor.events.narration import Tone
from supervisor.events.pace import said_bytes, said_left
from supervisor.events.step_line import counted, fitted
from supervisor.live.glyphs import UNICODE, Glyphs
from supervisor.live.picture import Picture
from supervisor.live.track import bar, loss_track, marks_track
from supervisor.report.durations import duration

__all__ = ["STYLES", "draw"]

STYLES = {Tone.PLAIN: "", Tone.RECOVERY: "yellow", Tone.GOOD: "cyan", Tone.BAD: "bold red"}
"""No red beside green: whoever cannot tell them apart loses nothing. Every state has its word, too."""

LABEL = 11
"""Columns of the names on the left."""

NARROW = 44
"""Below so many columns there are numbers alone, without names and tracks."""

VALUES = 38
"""Columns of the numbers on the right."""

SHORTEST_TRACK, WIDEST_TRACK = 8, 72
MOST_COLUMNS = 132
"""Wider rows are hard to read."""

_RANK = ("step", "state", "loss", "incidents", "pace", "reason", "ladder", "metrics")
"""The rows, what matters most first; `recent` ones come last."""

_MOST_METRICS = 4


def draw(
    picture: Picture, name: str, width: int, height: int, *, glyphs: Glyphs = UNICODE, unseen: int = 0
) -> list[Text]:
    """The view in rows.

    Args:
        picture: what to show.
        name: what the run is called.
        width: columns that a row may take.
        height: how many rows there may be; what matters least is left out. None are drawn for zero.
        glyphs: what to draw with.
        unseen: how many of the last lines about the run are out of sight by now, and told again.

    Returns:
        Rows, the topmost first, each at most `width` columns wide.
    """
    if width <= 0 or height <= 0:
        return []
    width = min(width, MOST_COLUMNS)
    if height == 1:
        return [_cut(_in_one_row(picture, glyphs), width, glyphs)]
    rows = _narrow(picture, glyphs) if width < NARROW else _wide(picture, name, width, glyphs)
    kept = sorted((row for row in rows if row in _RANK), key=_RANK.index)[:height]
    room = height - len(kept)
    told = [Text(f"  {line.text}", STYLES[line.tone]) for line in picture.recent[:unseen]]
    shown = [rows[row] for row in rows if row in kept] + (told[-room:] if room > 0 else [])
    return [_cut(row, width, glyphs) for row in shown]


def _wide(picture: Picture, name: str, width: int, glyphs: Glyphs) -> dict[str, Text]:
    # The three tracks are of one length, so that a mark stands below its loss; and of the same one in every picture.
    track = min(WIDEST_TRACK, width - LABEL - 2 - VALUES)
    track = track if track >= SHORTEST_TRACK else 0
    told = width - LABEL - track - (2 if track else 0)
    rows = {
        "state": _state(picture, name, width, glyphs),
        "step": _tracked("step", bar(picture.step, picture.steps, track, glyphs), _of_steps(picture), told),
        "loss": _tracked("loss", loss_track(picture, track, glyphs), _losses(picture), told),
        "incidents": _tracked("incidents", marks_track(picture, track, glyphs), _incidents(picture), told),
        "pace": _named("pace", fitted(_pace(picture, glyphs), width - LABEL)),
        "ladder": _ladder(picture, width, glyphs),
        "metrics": _named("metrics", fitted(_metrics(picture), width - LABEL)),
        "reason": _named("why", in_one_line(picture.reason or "")),
    }
    return {row: text for row, text in rows.items() if text is not None and len(text) > LABEL}


def _narrow(picture: Picture, glyphs: Glyphs) -> dict[str, Text]:
    rows = {
        "state": _dotted(picture, glyphs),
        "step": Text(f"step {_of_steps(picture)}"),
        "loss": Text(f"loss {_losses(picture)}"),
        "incidents": Text(f"incidents {_incidents(picture)}"),
        "pace": Text("  ".join(_pace(picture, glyphs))),
        "reason": Text(in_one_line(picture.reason or "")),
    }
    return {row: text for row, text in rows.items() if text}


def _in_one_row(picture: Picture, glyphs: Glyphs) -> Text:
    rest = f"  {_of_steps(picture)}  loss {_number(picture.loss)}"
    return _dotted(picture, glyphs) + rest


def _state(picture: Picture, name: str, width: int, glyphs: Glyphs) -> Text:
    row = _dotted(picture, glyphs)
    row.append("  " + in_one_line(name), "bold")
    ranks = counted(picture.ranks, "rank") if picture.ranks > 1 else ""
    for each in (picture.about, ranks):
        if each:
            row.append(f"  {in_one_line(each)}", "dim")
    clock = "" if picture.seconds is None else duration(round(picture.seconds))
    gap = width - row.cell_len - len(clock)
    if clock and gap >= 2:
        row.append(" " * gap + clock)
    return row


def _dotted(picture: Picture, glyphs: Glyphs) -> Text:
    return Text.assemble((f"{glyphs.dot} {picture.state}", STYLES[picture.tone]))


def _of_steps(picture: Picture) -> str:
    if picture.steps is None:
        return str(picture.step)
    share = 100 * min(picture.step, picture.steps) // picture.steps
    known = picture.seconds_left is not None and picture.step < picture.steps
    left = f"  {said_left(picture.seconds_left)}" if known and picture.seconds_left is not None else ""
    return f"{picture.step}/{picture.steps}  {share}%{left}"


def _losses(picture: Picture) -> str:
    parts = [_number(picture.loss)]
    if picture.grad_norm is not None:
        parts.append(f"grad {picture.grad_norm:.3g}")
    return "  ".join(parts)


def _incidents(picture: Picture) -> str:
    parts = [str(picture.incidents)]
    if picture.rung is not None:
        parts.append(f"rung {picture.rung} {picture.action or ''}".rstrip())
    elif picture.incidents == 0:
        parts = ["none"]
    if picture.restarts:
        parts.append(counted(picture.restarts, "restart"))
    if picture.bad_batches:
        parts.append(f"{picture.bad_batches} bad batch{'' if picture.bad_batches == 1 else 'es'}")
    return "  ".join(parts)


def _pace(picture: Picture, glyphs: Glyphs) -> list[str]:
    rate = picture.speed
    cut = "" if picture.lr_scale == 1.0 else f" (cut {glyphs.times}{picture.lr_scale:.3g})"
    parts = [
        None if picture.lr is None else f"lr {picture.lr:.3g}{cut}",
        None if not rate else f"{rate:.3g} steps/s" if rate >= 1 else f"{1 / rate:.3g} s/step",
        None if picture.goodput is None else f"goodput {picture.goodput:.0%}",
        None if picture.memory is None else said_bytes(picture.memory),
        None if picture.saved is None else f"saved at step {picture.saved}",
    ]
    return [part for part in parts if part is not None]


def _metrics(picture: Picture) -> list[str]:
    return [f"{in_one_line(name)} {value:.4g}" for name, value in [*picture.metrics.items()][:_MOST_METRICS]]


def _ladder(picture: Picture, width: int, glyphs: Glyphs) -> Text | None:
    """The rungs in their order: the one in use in brackets, and beside each how many incidents it has cured."""
    # As much of it as there is room for.
    for between, counts in ((f" {glyphs.then} ", True), (glyphs.then, True), (glyphs.then, False)):
        rungs = Text()
        for index, rung in enumerate(picture.ladder):
            rungs.append(between if index else "", "dim")
            cured = picture.cured.get(rung, 0)
            shown = f"{rung} {cured}" if cured and counts else rung
            if index == picture.rung:
                rungs.append(f"[{shown}]", "bold yellow")
            else:
                rungs.append(shown, "" if cured else "dim")
        row = _named("ladder", rungs)
        if rungs and row.cell_len <= width:
            return row
    return None


def _tracked(name: str, track: Text, value: str, room: int) -> Text:
    return _named(name, track + ("  " if track else "") + fitted(value.split("  "), room))


def _named(name: str, rest: Text | str) -> Text:
    return Text.assemble((f"{name:<{LABEL}}", "dim"), rest)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def _cut(row: Text, width: int, glyphs: Glyphs) -> Text:
    row.rstrip()
    if row.cell_len > width:
        row.truncate(max(width - len(glyphs.more), 0))
        row.append(glyphs.more)
    row.no_wrap = True
    return row
