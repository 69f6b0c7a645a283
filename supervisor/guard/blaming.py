"""Which rows may be left out for good: those of which it is known that they, and not the state, are at fault."""

from __future__ import annotations

from dataclasses import replace

from supervisor.diagnosis import Diagnosis
from supervisor.evidence import Blame
from supervisor.policy import SPIKES
from supervisor.records import Cause, CauseKind
from supervisor.training.samples import bad_samples, sample_count
from supervisor.update import Attempt

__all__ = ["bad_by_themselves", "blamed_rows", "by_evidence"]


def by_evidence(diagnosis: Diagnosis | None, attempt: Attempt) -> Diagnosis | None:
    """The diagnosis as an experiment has it: where that blames the state, rows with finite values are not at fault.

    A damaged state makes the largest rows of any batch stand out, so that the update is healthy without them.
    """
    cause, evidence = None if diagnosis is None else diagnosis.cause, attempt.evidence
    if diagnosis is None or cause is None or evidence is None or evidence.blame is not Blame.STATE:
        return diagnosis
    if cause.kind is not CauseKind.BAD_INPUT or bad_by_themselves(attempt, cause):
        return diagnosis
    explosion = evidence.finite
    cause = replace(
        cause,
        kind=CauseKind.GRADIENT_EXPLOSION if explosion else cause.kind,
        explanation=f"the state is at fault, {evidence.why}; what stands out in this batch: {cause.explanation}",
        samples=() if explosion else cause.samples,
        dataset_indices=(),
        earlier_batch_healthy=False,
    )
    return replace(diagnosis, cause=cause)


def blamed_rows(attempt: Attempt, cause: Cause, *, good_state: bool) -> tuple[Cause, bool]:
    """The cause with those of its rows alone that may be left out for good.

    Args:
        attempt: the update.
        cause: what was found.
        good_state: whether the update began from the newest good state, with no update between.

    Returns:
        The cause, and whether the rows are merely presumed to be at fault: their values are finite, so that the state
        may yet turn out to be.
    """
    if not cause.dataset_indices or cause.kind is not CauseKind.BAD_INPUT:
        return cause, False
    certain = bad_by_themselves(attempt, cause)
    if certain or _rather_than_the_state(attempt, cause, good_state=good_state):
        return cause, not certain
    return replace(cause, dataset_indices=()), False


def bad_by_themselves(attempt: Attempt, cause: Cause) -> bool:
    """Whether every row of a cause holds a value that is not finite, or could not be read at all."""
    if not attempt.batches:
        return bool(cause.samples)
    return bool(cause.samples) and set(cause.samples) <= _not_finite(attempt)


def _rather_than_the_state(attempt: Attempt, cause: Cause, *, good_state: bool) -> bool:
    evidence = attempt.evidence
    if evidence is not None:
        return evidence.blame is Blame.DATA and cause.earlier_batch_healthy is not False
    if all(signal.name in SPIKES for signal in attempt.signals):
        # Every number is finite: an update since then may have harmed the state, and nothing else tells the two apart.
        return good_state
    return cause.earlier_batch_healthy is not False


def _not_finite(attempt: Attempt) -> set[int]:
    start, found = 0, set[int]()
    for batch in attempt.batches:
        found |= {start + position for position in bad_samples(batch)}
        start += sample_count(batch) or 0
    return found
