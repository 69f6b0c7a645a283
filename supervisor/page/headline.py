"""The figures at the head of a page, and the facts below them: what `supervisor status` says, in its words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from supervisor.page.gathering import RunData
from supervisor.page.labels import number
from supervisor.report.durations import duration
from supervisor.report.run_status import RunState
from supervisor.report.tables import status_facts

__all__ = ["SIGN_OF_STATE", "Figure", "compared", "facts", "figures"]

SIGN_OF_STATE = {
    RunState.RUNNING: "▶",
    RunState.FINISHED: "✓",
    RunState.INTERRUPTED: "⏸",
    RunState.HALTED: "■",
    RunState.DEAD: "✖",
    RunState.STALLED: "!",
    RunState.UNSAVED: "!",
    RunState.UNKNOWN: "?",
}
"""A sign for each state, beside its word."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A number that a reader looks for first.

    Attributes:
        name: what it is.
        value: the number, with its unit.
        beside: what else belongs to it.
    """

    name: str
    value: str
    beside: str = ""


def figures(run: RunData) -> tuple[Figure, ...]:
    """The headline figures of a run."""
    return tuple(_figures(run))


def _figures(run: RunData) -> Iterator[Figure]:
    status, story = run.story.status, run.story
    of_steps = "" if status.steps is None else f"of {status.steps:,}"
    yield Figure("Steps", "–" if status.step is None else f"{status.step:,}", of_steps)
    yield Figure(
        "Goodput", "–" if status.goodput is None else f"{status.goodput:.1%}", f"of {duration(status.seconds)}"
    )
    gone = len(story.incidents) - status.incidents
    beside = [
        f"{gone:,} that a resume went back over" if gone > 0 else "",
        f"{len(story.processes):,} of its process" if story.processes else "",
    ]
    more = ", ".join(each for each in beside if each)
    yield Figure("Incidents", f"{status.incidents:,}", f"and {more}" if more else _some(status.incidents_by_signal))
    recovered = sum(status.cured_by.values())
    yield Figure("Cured", f"{recovered:,}", _some(status.cured_by) or "by no rung")
    lost = sum(each.record.cost.steps_lost for each in story.incidents)
    seconds = sum(each.record.cost.seconds for each in story.incidents)
    yield Figure("Steps lost", f"{lost:,}", f"and {duration(seconds)} in incidents")
    yield Figure(
        "Loss", number(status.loss), "" if status.grad_norm is None else f"gradient norm {number(status.grad_norm, 3)}"
    )
    # There are always eight figures, so that their rows are full.
    if status.mttr_seconds is None:
        yield Figure("Time to recover", "–", "nothing to recover from" if not status.incidents else "not yet")
    else:
        yield Figure("Time to recover", duration(status.mttr_seconds), "on average")
    lives = len(run.lives)
    lost_workers = sum(not life.orderly for life in run.lives)
    yield Figure("Workers lost", str(lost_workers), f"of {lives} started" if lives else "")


def facts(run: RunData) -> list[tuple[str, str]]:
    """What else is known of where it stands, each with its name."""
    known = [(name, value) for name, value in status_facts(run.story.status).items() if value]
    return [*known, *(("Left out", why) for why in run.story.damaged)]


def compared(runs: Sequence[RunData]) -> list[tuple[str, list[str]]]:
    """The figures of several runs: a row for each figure, a value for each run."""
    rows = [("State", [str(run.story.status.state) for run in runs])]
    for values in zip(*(figures(run) for run in runs), strict=True):
        rows.append((values[0].name, [_with_beside(value) for value in values]))
    return rows


def _with_beside(figure: Figure) -> str:
    goes_on = figure.beside.startswith(("of ", "and ", "on ", "by "))
    if not figure.beside:
        return figure.value
    return f"{figure.value} {figure.beside}" if goes_on else f"{figure.value} ({figure.beside})"


def _some(counts: object, most: int = 3) -> str:
    """`skip_batch 9, reload_checkpoint 2`, the most frequent first."""
    assert isinstance(counts, dict)
    told = sorted(counts.items(), key=lambda each: each[1], reverse=True)
    more = f" and {len(told) - most} more" if len(told) > most else ""
    return ", ".join(f"{name} {count}" for name, count in told[:most]) + more
