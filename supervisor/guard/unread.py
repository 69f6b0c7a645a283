"""A batch that the data could not give is answered as one whose rows are at fault: it is left out, its rows too."""

from __future__ import annotations

import math

from supervisor.diagnosis import Diagnosis
from supervisor.evidence import Blame, Evidence
from supervisor.guard.discarding import Discarding
from supervisor.guard.outcome import Verdict
from supervisor.records import Cause, CauseKind, Observation
from supervisor.training.bad_rows import NOTHING_LEFT, BadSamples
from supervisor.update import Attempt, Phase, Raised

__all__ = ["answer_unread"]


def answer_unread(discarding: Discarding, bad: BadSamples) -> Verdict:
    """Put the exception on record and leave its rows out; what is left of the batch comes again.

    Before any update was applied, one that the program is at fault for is raised.

    Args:
        discarding: answers it.
        bad: what the data raised.
    """
    undoing, points = discarding.undoing, discarding.continuation.points
    started, before = points.ledger.now(), undoing.executor.begin()
    attempt = Attempt(points.ledger.begin(points.data.batch_number), (), before, started, drawn=True)
    attempt.phase = Phase.ENDED
    told, place, again = bad.told, attempt.place, bad.again
    attempt.raised = Raised(told.type, told.message, told.where, None, told.traceback)
    attempt.error = bad.error
    attempt.observation = Observation(
        place.step,
        place.update,
        math.nan,
        math.nan,
        replayed=place.replayed,
        exception=told.message,
        exception_where=told.where,
    )
    undoing.executor.give_up(attempt)
    undoing.states.flush()
    attempt.signals = undoing.detectors.inspect(attempt.seen)
    cause = _cause(bad, attempt, certain=not undoing.first.asks)
    try:
        if undoing.first.convict(attempt, cause):
            discarding.continuation.break_off(attempt)
            raise bad.error
        points.data.used()
        rest = () if again.batch is NOTHING_LEFT else (again.batch,)
        attempt.mended = (*bad.before, *rest)
        if discarding.policy.experiments is not None:
            takes = discarding.recovery.quarantine.takes or not cause.dataset_indices
            counted = 0 if (rest or again.taken) and takes else 1
            attempt.evidence = Evidence(Blame.DATA, cause.explanation, batches=counted)
        discarding.continuation.noted(attempt)
        return discarding.answered(attempt, Diagnosis(cause))
    finally:
        attempt.error = None


def _cause(bad: BadSamples, attempt: Attempt, *, certain: bool) -> Cause:
    """Why the batch could not be had.

    Args:
        bad: what the data raised.
        attempt: the update in whose place it stands.
        certain: where every row of a batch raises, and it is one: whether it is the row's fault, and not every row's.
    """
    told, again = bad.told, bad.again
    at = f" at {told.where}" if told.where else ""
    raised = f"the data set raised {told.message}{at}"
    named = bool(again.bad) and (not again.all_raise or (certain and len(again.bad) == 1))
    if named:
        what, which = ("row", again.rows) if again.rows else ("sample", again.bad)
        several = "s" if len(which) > 1 else ""
        why = f"{raised}, for {what}{several} {', '.join(map(str, which))}"
        why += "" if again.rows else " of the batch"
    elif again.all_raise:
        why = f"{raised}, and so it does for every row of the batch"
    elif again.batch is not NOTHING_LEFT or again.taken:
        why = f"{raised}, but gives every row of the batch when it is asked again"
    else:
        why = f"{raised}; which row it was is not known"
    return Cause(
        kind=CauseKind.BAD_INPUT if named else CauseKind.EXCEPTION,
        explanation=why,
        step=attempt.place.step,
        update=attempt.place.update,
        batch_number=bad.number,
        samples=again.bad if named else (),
        dataset_indices=again.rows if named else (),
        where=told.where,
        exception_type=told.type,
        deterministic=None if again.bad or (again.batch is NOTHING_LEFT and not again.taken) else False,
    )
