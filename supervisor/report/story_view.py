"""The story of a run's incidents in plain words."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator
from itertools import groupby

from supervisor.events.incident_file import CureRow, IncidentFile
from supervisor.events.narration import counted, describe_outcome, describe_signal
from supervisor.records import ActionName, CauseKind, Outcome
from supervisor.report.durations import duration, told_account
from supervisor.report.process_story import ProcessStory, told_of_each
from supervisor.report.process_view import TO_CHANGE, process_details, process_headline, process_sections
from supervisor.report.story import RunStory, Story, Taken

__all__ = [
    "headline",
    "incident_sections",
    "render_incident",
    "render_process",
    "render_run",
    "wrapped",
]


_KINDS = {
    CauseKind.EXCEPTION: "the step raised an exception",
    CauseKind.POISONED_OPTIMIZER_STATE: "the optimizer's state was bad {when}",
    CauseKind.POISONED_PARAMETER: "a parameter or buffer was bad {when}",
    CauseKind.HIDDEN_STATE: "what a module keeps and no state holds",
    CauseKind.BAD_INPUT: "the data",
    CauseKind.NOT_REPRODUCIBLE: "healthy when it was run again",
    CauseKind.NONFINITE_ACTIVATION: "the numerics of a module",
    CauseKind.LOSS_FUNCTION: "the numerics of the loss function",
    CauseKind.BACKWARD_ONLY: "the numerics of the backward pass",
    CauseKind.GRADIENT_EXPLOSION: "finite numbers, flagged for their size",
}
_NOT_LOOKED = {
    True: "the diagnosis was on, and named no cause",
    False: "nobody has looked: the diagnosis is switched off",
    None: "nobody has looked, or the diagnosis did not come to an end",
}
_MOST_LINES = 12
_MOST_ROWS = 20
_INDENT = "  "


def render_incident(story: Story, run_dir: str) -> list[str]:
    """One incident from what was seen to what to change, line by line.

    Args:
        story: the incident.
        run_dir: as the user typed it.
    """
    when = "" if story.opened_at is None else f", {story.opened_at:%Y-%m-%d %H:%M:%S} UTC"
    lines = [f"Incident {story.record.id}: {headline(story)}{when}"]
    for title, body in incident_sections(story, run_dir):
        lines += _section(title, [f"- {line}" for line in body] if title == TO_CHANGE else body)
    return lines


def incident_sections(story: Story, run_dir: str) -> Iterator[tuple[str, list[str]]]:
    """What `render_incident` tells below its first line: title and lines of each section that has any.

    Args:
        story: the incident.
        run_dir: as the user typed it.
    """
    sections = {
        "What was seen": _seen(story.taken),
        "Where it comes from": [*_why(story), *_later(story.record)],
        "What was tried, and why": _tried(story.taken),
        "Cures of the set-up, each tried on a fork": _cures(story.record.cures),
        "How it ended, and what it cost": [*_end(story), *_left_behind(story)],
        TO_CHANGE: [*story.advice],
        "Evidence": [*_evidence(story, run_dir)],
    }
    return ((title, lines) for title, lines in sections.items() if lines)


def render_run(story: RunStory, run_dir: str) -> list[str]:
    """Every incident in a few lines, then what to change, each advice once.

    Args:
        story: the run.
        run_dir: as the user typed it.
    """
    if not story.in_time:
        return [f"{run_dir}: no incidents", *_account(story), *_hints(story), *_warnings(story, run_dir)]
    lost = sum(each.record.cost.steps_lost for each in story.incidents)
    seconds = sum(each.record.cost.seconds for each in story.incidents)
    total = counted(len(story.in_time), "incident")
    if story.processes:
        total += f" ({len(story.incidents)} of the training, {len(story.processes)} of its process)"
    lines = [f"{run_dir}: {total}, {counted(lost, 'step')} lost and {duration(seconds)} spent in those of the training"]
    lines += [*_account(story), *_hints(story)]
    for each in story.in_time:
        if isinstance(each, Story):
            lines += _section(f"{each.name}. {headline(each)}", [*_why(each), *_end(each)])
        else:
            lines += _section(process_headline(each), process_details(each))
    lines += _section(TO_CHANGE, [*_shared_advice(story.incidents), *told_of_each(story.processes)])
    lines += _warnings(story, run_dir)
    return [*lines, "", f"The whole of one: supervisor explain {run_dir} {story.in_time[0].name}"]


def render_process(story: ProcessStory) -> list[str]:
    """One death or stall of the worker process, line by line."""
    lines = [f"Incident {process_headline(story)}"]
    for title, body in process_sections(story):
        lines += _section(title, [f"- {line}" for line in body] if title == TO_CHANGE else body)
    return lines


def _account(story: RunStory) -> list[str]:
    """Where the wall time went, in one line."""
    account = story.status.account
    return [] if account is None or not account.seconds else [f"{_INDENT}{told_account(account)}"]


def _hints(story: RunStory) -> list[str]:
    """What was noticed and changed nothing, one line each: weights at the start, what was forecast last."""
    said = {"at the start": story.status.initial_scale, "headroom": story.status.headroom}
    return [f"{_INDENT}{name}: {text}" for name, text in said.items() if text is not None]


def _warnings(story: RunStory, run_dir: str) -> list[str]:
    count, last = story.status.warnings, story.status.last_warnings
    all_of_them = [f"all {count}: supervisor events {run_dir} --event warning"] if count > len(last) else []
    return _section("Warnings", [*last, *all_of_them])


def wrapped(lines: Iterable[str], width: int) -> Iterator[str]:
    """The lines broken for a terminal of `width` columns; what goes on keeps its indent."""
    for line in lines:
        indent = line[: len(line) - len(line.lstrip(" -"))]
        options = {"subsequent_indent": " " * len(indent), "break_long_words": False, "break_on_hyphens": False}
        yield from textwrap.wrap(line, max(width, 40), **options) or [""]  # type: ignore[arg-type]


def _section(title: str, lines: Iterable[str]) -> list[str]:
    body = [f"{_INDENT}{line}" for line in lines]
    return ["", title, *body] if body else []


def headline(story: Story) -> str:
    """What was found, where, and how it ended: `nonfinite_loss at step 98: recovered by skip_batch`."""
    record = story.record
    names = ", ".join(record.signals) or "no signal"
    end = {
        Outcome.RECOVERED: f"recovered by {record.cured_by}",
        Outcome.HALTED: "ended in a halt",
        Outcome.OPEN: story.undone or "still open",
    }[record.outcome]
    return f"{names} at step {record.opened_at_step}: {end}"


def _seen(taken: tuple[Taken, ...]) -> list[str]:
    """A line for each finding; the same at several updates in a row is told once."""
    lines: list[str] = []
    for told, alike in groupby(taken, key=lambda each: [describe_signal(signal) for signal in each.signals]):
        group = [*alike]
        first, last = group[0].decision, group[-1].decision
        place = (
            f"step {first.step} (update {first.update})"
            if first is last
            else f"steps {first.step} to {last.step} (updates {first.update} to {last.update})"
        )
        lines += [f"{place}: {text}" for text in told]
    return _at_most(lines)


def _why(story: Story) -> Iterator[str]:
    record, cause = story.record, story.record.cause
    if cause is None:
        yield f"not known: {record.not_known or _NOT_LOOKED[story.diagnosed]}"
    else:
        kind = _KINDS[cause.kind].format(when="after the step" if cause.after_step else "before the step")
        yield f"{cause.kind} ({kind}): {cause.explanation}"
    if story.left_out:
        rows = story.left_out
        shown = ", ".join(str(row) for row in rows[:_MOST_ROWS])
        more = f" and {len(rows) - _MOST_ROWS} more ({len(rows)} in all)" if len(rows) > _MOST_ROWS else ""
        yield f"left out of the data set since: {'row' if len(rows) == 1 else 'rows'} {shown}{more}"


def _left_behind(story: Story) -> Iterator[str]:
    """What a skipped batch has left behind, and whether it came again."""
    if story.record.cured_by is not ActionName.SKIP_BATCH:
        return
    untouched = "parameters, optimizer and generators are as if it was never seen"
    decided = [taken.decision for taken in story.taken]
    if any(each.retry for each in decided):
        yield f"the discarded step leaves no trace ({untouched}), and the same batch came again"
    elif any(each.evidence is not None and each.evidence.batches == 0 for each in decided):
        yield f"the discarded step leaves no trace ({untouched}), and the rest of the batch came again"
    else:
        yield f"the skipped batch leaves no trace: {untouched}"


def _later(record: IncidentFile) -> Iterator[str]:
    if later := len(record.later_causes):
        yield f"what its later updates showed ({later}) is in incident.json"


def _tried(taken: tuple[Taken, ...]) -> list[str]:
    lines = []
    for each in taken:
        lines += [f"step {each.decision.step}: {failure.action} failed: {failure.error}" for failure in each.failures]
        done = "" if each.applied is None else describe_outcome(each.applied)
        chosen = f"{each.decision.action} (rung {each.decision.rung})"
        lines.append(f"step {each.decision.step}: {chosen}, for {each.decision.reason}{done}")
    return _at_most(lines)


def _cures(rows: tuple[CureRow, ...]) -> list[str]:
    """A line for each cure: the median loss of batches that its fork was not trained on."""
    width = max((len(row.cure) for row in rows), default=0)
    return [
        f"{row.cure:<{width}}  from step {row.from_step}: loss {row.score:.4g}{', in force' if row.chosen else ''}"
        for row in rows
    ]


def _end(story: Story) -> Iterator[str]:
    record = story.record
    cost = f"{counted(record.cost.steps_lost, 'step')} and {duration(record.cost.seconds)}"
    match record.outcome:
        case Outcome.RECOVERED:
            yield f"{record.cured_by} cured it; closed at step {record.closed_at_step}; it cost {cost}"
        case Outcome.HALTED:
            yield f"the run halted at step {record.closed_at_step}, the model {_left(story)}; {cost} lost"
        case Outcome.OPEN:
            yield f"{story.undone or 'still open'}; {counted(record.cost.steps_lost, 'step')} lost so far"


def _left(story: Story) -> str:
    """Which state a halt left the model in: the present one where that is sound, or where there was no good one."""
    applied = story.taken[-1].applied if story.taken else None
    restored = None if applied is None else applied.restored_step
    decided = story.record.decisions
    if restored is None and (applied is not None or (decided and decided[-1].in_place)):
        return "left as it stood before the flagged update"
    return "in its newest good state" + ("" if restored is None else f", that of step {restored}")


def _evidence(story: Story, run_dir: str) -> Iterator[str]:
    bundle = story.record.bundle
    yield f"{story.folder}/incident.json"
    if bundle is None:
        return
    state = "the state after the step" if bundle.update_applied else "the state before the step"
    for name, what in ((bundle.batch, "the batch"), (bundle.state, state)):
        if name is not None:
            yield f"{story.folder}/{name}: {what}"
    if bundle.note:
        yield bundle.note
    if bundle.batch and bundle.state and story.of_job:
        yield f"run the step again: supervisor explain {run_dir} {story.record.id} --replay"
    elif bundle.batch or bundle.state:
        yield "look into them with torch.load(path, weights_only=True)"


def _shared_advice(incidents: tuple[Story, ...]) -> Iterator[str]:
    for line in dict.fromkeys(line for story in incidents for line in story.advice):
        numbers = [str(story.record.id) for story in incidents if line in story.advice]
        shown = ", ".join(numbers[:6]) + (" and more" if len(numbers) > 6 else "")
        yield f"- ({'incident' if len(numbers) == 1 else 'incidents'} {shown}) {line}"


def _at_most(lines: list[str]) -> list[str]:
    more = len(lines) - _MOST_LINES
    return lines if more <= 0 else [*lines[:_MOST_LINES], f"and {more} more: see `supervisor events`"]
