"""Both policies side by side, for people and for machines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

from rich.console import Group, JustifyMethod, RenderableType
from rich.table import Table
from rich.text import Text

from supervisor.records import ActionName, Decision, SignalName
from supervisor.replay.replay import Comparison, Replayed

__all__ = ["plain_replay", "render_replay"]


def render_replay(replayed: Replayed, policy: str) -> RenderableType:
    """A table with a line for each flagged update, where the two part and why, and what each comes to.

    Args:
        replayed: both decisions for each update.
        policy: the other policy, as the user typed it.
    """
    if not replayed.comparisons:
        return Text(f"{replayed.updates} updates: neither the recorded policy nor {policy} flags any")
    rows = [*_rows(replayed.comparisons)]
    table = Table(box=None, pad_edge=False, header_style="bold")
    for index, name in enumerate(("update", "step", "signals", "recorded", Path(policy).name, "")):
        # A line is broken between words alone, on a narrow terminal too.
        widest = max(len(word) for row in rows for word in (*row[index].split(), ""))
        justify: JustifyMethod = "right" if name in ("update", "step") else "left"
        table.add_column(Text(name), justify=justify, overflow="fold", min_width=widest)
    for row in rows:
        table.add_row(*row)
    return Group(table, Text(), *_parting(replayed, policy), *_totals(replayed, policy))


def _rows(comparisons: Iterable[Comparison]) -> Iterator[tuple[str, ...]]:
    """A row for each flagged update; those that the other policy does not see, as it has halted, in one."""
    halted = False
    for unseen, group in groupby(comparisons, key=lambda each: not each.replayed and not each.replayed_signals):
        told = [*group]
        if unseen and halted:
            count = f"{len(told)} more flagged update{'s' if len(told) > 1 else ''} of the recorded run"
            yield f"{told[0].update}...", "", count, "", "has halted", ""
            continue
        for each in told:
            recorded, again = _actions(each.recorded), _actions(each.replayed)
            halted = bool(each.replayed) and each.replayed[-1].action is ActionName.HALT
            differs = "" if each.same else "differs"
            step = "-" if each.step is None else str(each.step)
            yield str(each.update), step, _signals(each), recorded, again, differs


def plain_replay(replayed: Replayed) -> dict[str, Any]:
    """The same as plain values, for JSON."""
    parting = replayed.parting
    return {
        "updates": replayed.updates,
        "same": parting is None,
        "parts_at_update": None if parting is None else parting.update,
        "halted_at_update": replayed.halted_at,
        "lr_scale": replayed.lr_scale,
        "cured_by": {action.value: count for action, count in replayed.cured.items()},
        "comparisons": [
            {
                "update": each.update,
                "step": each.step,
                "same": each.same,
                "recorded": _plain(each.recorded_signals, each.recorded),
                "replayed": _plain(each.replayed_signals, each.replayed),
            }
            for each in replayed.comparisons
        ],
    }


def _plain(signals: tuple[SignalName, ...], decisions: tuple[Decision, ...]) -> dict[str, Any]:
    return {
        "signals": [signal.value for signal in signals],
        "decisions": [
            {
                "incident": each.incident,
                "rung": each.rung,
                "action": each.action.value,
                "attempt": each.attempt,
                "reason": each.reason,
            }
            for each in decisions
        ],
    }


def _signals(each: Comparison) -> str:
    names = _joined(each.recorded_signals)
    if each.recorded_signals == each.replayed_signals:
        return names
    return f"{names or 'none'} -> {_joined(each.replayed_signals) or 'none'}"


def _joined(signals: Iterable[SignalName]) -> str:
    return ", ".join(signal.value for signal in signals)


def _actions(decisions: tuple[Decision, ...]) -> str:
    return ", then ".join(f"{each.action.value} (rung {each.rung})" for each in decisions) or "-"


def _parting(replayed: Replayed, policy: str) -> list[RenderableType]:
    parting = replayed.parting
    if parting is None:
        return [Text(f"{policy} decides the same at every update.", style="bold")]
    return [
        Text(f"They part at update {parting.update}:", style="bold"),
        Text(f"  recorded: {_reasons(parting.recorded)}"),
        Text(f"  {policy}: {_reasons(parting.replayed)}"),
        Text("What follows is what the recorded run met; another run would have met other batches and weights."),
    ]


def _reasons(decisions: tuple[Decision, ...]) -> str:
    return "; ".join(f"{each.action.value}: {each.reason}" for each in decisions) or "not flagged"


def _totals(replayed: Replayed, policy: str) -> list[RenderableType]:
    recorded = Counter(each.recorded[-1].action for each in replayed.comparisons if each.recorded)
    again = Counter(each.replayed[-1].action for each in replayed.comparisons if each.replayed)
    end = (
        f"halts at update {replayed.halted_at} of {replayed.updates}"
        if replayed.halted_at is not None
        else f"goes through all {replayed.updates} updates"
    )
    return [Text(f"recorded: {_counts(recorded)}"), Text(f"{policy}: {_counts(again)}; {end}")]


def _counts(actions: Counter[ActionName]) -> str:
    return ", ".join(f"{count} {action.value}" for action, count in actions.items()) or "nothing"
