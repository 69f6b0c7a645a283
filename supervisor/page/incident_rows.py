"""The incidents of a run as a page's table has them, each with all that `supervisor explain` tells of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from supervisor.events import schema
from supervisor.page.gathering import RunData
from supervisor.page.labels import number
from supervisor.page.looks import SIGNS
from supervisor.page.marks import answer_of
from supervisor.records import Outcome
from supervisor.report.durations import duration
from supervisor.report.process_story import ProcessStory
from supervisor.report.process_view import LEFT_BEHIND, TO_CHANGE, process_sections
from supervisor.report.story import Story
from supervisor.report.story_view import incident_sections

__all__ = ["MOST_TOLD", "ExperimentRow", "IncidentRow", "Section", "incident_rows"]

MOST_TOLD = 200
"""Of how many incidents all is told; of further ones the row, the cause and what to change."""

_OUTCOMES = {Outcome.RECOVERED: "recovered", Outcome.HALTED: "halted", Outcome.OPEN: "open"}
_SHORT = (TO_CHANGE, "Where it comes from", "What followed")


@dataclass(frozen=True, slots=True)
class Section:
    """A part of what is told.

    Attributes:
        title: of it.
        lines: what is told.
        listed: whether they are a list.
        as_it_is: whether they are one text, whose blanks and line ends mean something, as those of a traceback.
    """

    title: str
    lines: tuple[str, ...]
    listed: bool = False
    as_it_is: bool = False


@dataclass(frozen=True, slots=True)
class ExperimentRow:
    """An experiment, in words."""

    step: str
    kind: str
    batches: str
    before: str
    after: str
    verdict: str
    seconds: str


@dataclass(frozen=True, slots=True)
class IncidentRow:
    """One incident, of the training or of a worker process.

    Attributes:
        anchor: what links to it name.
        name: what `supervisor explain` asks for it by.
        step: where it opened.
        what: what was found.
        cause: where it comes from, in a word or two.
        blame: who is to blame, by the experiments.
        answer: the action of the rung used last, empty for a process.
        sign: its mark.
        outcome: how it ended.
        cost: steps lost and seconds.
        sections: the whole of it.
        experiments: those it was decided by.
        traceback: of the user's exception, if there was one.
        cut: whether less is told of it, since there are so many.
    """

    anchor: str
    name: str
    step: str
    what: str
    cause: str
    blame: str
    answer: str
    sign: str
    outcome: str
    cost: str
    sections: tuple[Section, ...]
    experiments: tuple[ExperimentRow, ...] = ()
    traceback: str | None = None
    cut: bool = False


def incident_rows(run: RunData, prefix: str) -> Iterator[IncidentRow]:
    """A row for each incident, in the order in which they came.

    Args:
        run: the run.
        prefix: of the anchors of its incidents.
    """
    for index, story in enumerate(run.story.in_time):
        cut = index >= MOST_TOLD
        yield _of_training(run, story, prefix, cut) if isinstance(story, Story) else _of_process(story, prefix, cut)


def _of_training(run: RunData, story: Story, prefix: str, cut: bool) -> IncidentRow:
    record, action = story.record, answer_of(story)
    blames = dict.fromkeys(
        str(taken.decision.evidence.blame) for taken in story.taken if taken.decision.evidence is not None
    )
    return IncidentRow(
        anchor=f"{prefix}incident-{story.name}",
        name=story.name,
        step=f"{record.opened_at_step:,}",
        what=", ".join(record.signals) or "no signal",
        cause="not known" if record.cause is None else str(record.cause.kind),
        blame=", ".join(blames) or "–",
        answer="" if action is None else str(action),
        sign="" if action is None else SIGNS[action],
        outcome="undone" if story.undone else _OUTCOMES[record.outcome],
        cost=f"{record.cost.steps_lost:,} / {duration(record.cost.seconds)}",
        sections=_sections(incident_sections(story, run.run_dir), cut),
        experiments=() if cut else tuple(_experiments(run.experiments.get(record.id, ()))),
        traceback=None if cut else record.traceback,
        cut=cut,
    )


def _of_process(story: ProcessStory, prefix: str, cut: bool) -> IncidentRow:
    record = story.record
    how = record.signal or f"exit code {record.exit_code}"
    again = "not started again" not in story.followed
    return IncidentRow(
        anchor=f"{prefix}{story.name}",
        name=story.name,
        step="–",
        what=f"worker lost: {record.classification}",
        cause=how,
        blame="process",
        answer="restart" if again else "",
        sign="▽",
        outcome="restarted" if again else "not restarted",
        cost="–",
        sections=_sections(process_sections(story), cut),
        cut=cut,
    )


def _sections(told: Iterable[tuple[str, list[str]]], cut: bool) -> tuple[Section, ...]:
    return tuple(
        Section(
            title,
            tuple(lines),
            listed=title == TO_CHANGE,
            as_it_is=title == LEFT_BEHIND and len(lines) > 1,
        )
        for title, lines in told
        if not cut or title in _SHORT
    )


def _experiments(events: Iterable[schema.ExperimentEvent]) -> Iterator[ExperimentRow]:
    for event in events:
        yield ExperimentRow(
            step="–" if event.step is None else f"{event.step:,}",
            kind=event.kind,
            batches=str(event.batches),
            before=number(event.before),
            after=number(event.after),
            verdict=event.verdict + (f": {event.why}" if event.why else ""),
            seconds=duration(event.seconds),
        )
