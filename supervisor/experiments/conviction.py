"""Who is to blame: for an update that was discarded, and for a trial that did harm and is undone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from supervisor.evidence import Blame, Evidence
from supervisor.experiments.canaries import Canary
from supervisor.experiments.control import would_harm_too
from supervisor.experiments.examining import Examining
from supervisor.experiments.gradients import are_bad_for_all, blame_of_gradients
from supervisor.experiments.harm import Harm
from supervisor.experiments.no_trace import put_gradients
from supervisor.experiments.probing import ProbeFailed
from supervisor.experiments.stretch import Stretch
from supervisor.experiments.suspicion import as_finding, bad_batch, damaged, high_rate
from supervisor.experiments.verdict import Verdict, makes_up_for_it, verdict
from supervisor.policy import SPIKES
from supervisor.records import Cause, CauseKind, Signal, SignalName
from supervisor.training.state import TrainingState
from supervisor.update import Attempt

__all__ = ["convict_state", "convict_stretch", "convict_update"]

STILL = {
    Verdict.SOUND: ("still is", "still are"),
    Verdict.HEALS: ("is worse, though not for good", "are worse, though not for good"),
    Verdict.MOVED: ("is worse wherever the run goes back", "are worse wherever the run goes back"),
}
"""What one canary or several say where the state is not to blame."""


def convict_update(examining: Examining, attempt: Attempt, cause: Cause | None, canaries: Sequence[Canary]) -> Evidence:
    """Find out what is at fault for an update that was discarded; everything is as it was before it.

    Args:
        examining: tries canaries.
        attempt: the update.
        cause: what the diagnosis found.
        canaries: those to try.
    """
    seen = attempt.seen
    if seen.bad_parameters or seen.bad_optimizer_state:
        return Evidence(Blame.STATE, "the state itself is not finite")
    finite = bool(attempt.signals) and all(signal.name in SPIKES for signal in attempt.signals)
    data = examining.tools.data
    if not attempt.undone:
        return Evidence(Blame.UNKNOWN, "the update had reached the weights", finite=finite)
    if cause is not None and (cause.kind is CauseKind.NOT_REPRODUCIBLE or cause.deterministic is False):
        why = "the same step, run again, is healthy"
        return replace(bad_batch(attempt, data, why), blame=Blame.MACHINE, finite=finite)
    look = examining.before_update if finite else examining.unless_newest_is_unharmed
    try:
        said = look(attempt, canaries)
    except ProbeFailed as failed:
        raised, own = failed.raised, attempt.raised
        if raised is not None and own is not None and (raised.type, raised.where) == (own.type, own.where):
            return Evidence(Blame.CODE, f"{failed}, as this one does: the program is at fault")
        return Evidence(Blame.UNKNOWN, str(failed), finite=finite)
    if said is None:
        why = examining.tools.executor.no_replay or "there is no batch yet that is known to be healthy"
        return Evidence(Blame.UNKNOWN, why, finite=finite)
    found = verdict(examining, attempt, said, canaries)
    if found is Verdict.LOST:
        return damaged(said, "", finite=finite)
    if found is Verdict.SOUND and are_bad_for_all(examining, attempt, cause, canaries):
        return blame_of_gradients(examining, attempt, finite=finite)
    how = f"{_say(said, found)}: {said}"
    return replace(bad_batch(attempt, data, how), finite=finite)


def _say(said: Harm, found: Verdict) -> str:
    one, several = STILL[found]
    if said.canaries == 1:
        return f"the last batch that was healthy {one}"
    return f"{said.canaries} batches that were healthy {several}"


def convict_state(examining: Examining, attempt: Attempt, canaries: Sequence[Canary], found: Sequence[Signal]) -> bool:
    """Whether the state before an odd update is damaged, as by something outside of the training.

    Args:
        examining: tries canaries.
        attempt: the update; it takes signals and evidence where that is so.
        canaries: those to try.
        found: what is odd about the update.
    """
    try:
        said = examining.before_update(attempt, canaries)
    except ProbeFailed:
        return False
    if said is None or not said.harmed:
        return False
    root = examining.tools.subject.capture(before=attempt.before)
    if verdict(examining, attempt, said, canaries, root=root) is not Verdict.LOST:
        return False
    attempt.signals = (replace(as_finding(found), name=SignalName.DIVERGENCE),)
    attempt.evidence = damaged(said, " before it", finite=True)
    return True


def convict_stretch(examining: Examining, attempt: Attempt, stretch: Stretch, after: Harm) -> bool:
    """Undo an update that harmed the canaries, with all of its stretch, and put the evidence into the attempt.

    Where they were harmed before it already, the state is to blame, if they are severely or for too long; otherwise the
    training's own updates have done it, and more of them make up for it.

    Args:
        examining: tries canaries.
        attempt: the update, applied.
        stretch: which it belongs to; it leaves odd updates out from here on where the data are to blame.
        after: what canaries say of it.

    Returns:
        Whether it was undone. Where it was not it stands, and its stretch is over.
    """
    examining.budget.alarmed()
    examining.state_changed()
    subject, pin = examining.tools.subject, stretch.pin
    if pin is None:
        return _convict_without_pin(examining, attempt, after)
    applied, gradients = subject.capture(), subject.gradients()
    subject.restore(pin)
    evidence = None
    try:
        evidence = _blame_of_stretch(examining, attempt, stretch, after, applied)
    finally:
        # What stands, or is left as it is by what was raised, has the gradients that it had.
        if evidence is None:
            subject.restore(applied)
            put_gradients(subject, gradients)
    if evidence is None:
        attempt.odd = True
        return False
    finding = as_finding(attempt.suspicions)
    damage = evidence.blame is Blame.STATE
    attempt.signals = (replace(finding, name=SignalName.DIVERGENCE) if damage else finding,)
    stretch.undo(attempt, subject, len(stretch.accepted))
    attempt.evidence = evidence
    if evidence.blame is Blame.DATA:
        stretch.prove_harmful()
        stretch.leave_out(attempt.batches)
    return True


def _convict_without_pin(examining: Examining, attempt: Attempt, after: Harm) -> bool:
    """Nothing can be undone: where the harm is severe, the state is to blame, and the run goes back further."""
    if high_rate(attempt.suspicions) is not None:
        examining.detectors.rate.refuse()
    attempt.odd = not after.severe
    if after.severe:
        attempt.signals = (replace(as_finding(attempt.suspicions), name=SignalName.DIVERGENCE),)
        attempt.evidence = damaged(after, " after it", finite=True)
    return after.severe


def _blame_of_stretch(
    examining: Examining, attempt: Attempt, stretch: Stretch, after: Harm, applied: TrainingState
) -> Evidence | None:
    """Who is to blame for the harm of a stretch, whose pin is in place; None where training makes up for it."""
    try:
        before = examining.before_update(attempt, stretch.canaries)
    except ProbeFailed:
        before = None
    if before is not None and before.harmed:
        found = verdict(examining, attempt, before, stretch.canaries, root=stretch.pin, stretch=stretch)
        return damaged(before, " before it", finite=True) if found is Verdict.LOST else None
    rate = high_rate(attempt.suspicions)
    when = None if rate is not None else _when_not_by_it(examining, attempt, stretch, before, after)
    if when is not None:
        lost = verdict(examining, attempt, after, stretch.canaries, root=applied, stretch=stretch)
        return damaged(after, when, finite=True) if lost is Verdict.LOST else None
    if rate is None:
        what = "it and those before it harmed" if stretch.accepted else "it harmed"
        why = f"applied on trial, {what} batches that were healthy: {after}"
        return replace(bad_batch(attempt, examining.tools.data, why), finite=True)
    if makes_up_for_it(examining, attempt, after, stretch, applied):
        return None
    examining.detectors.rate.refuse()
    how = "until it is that low again, updates are made at the highest rate so far"
    why = f"{rate}; applied on trial, it harmed batches that were healthy: {after}; {how}"
    return replace(bad_batch(attempt, examining.tools.data, why), blame=Blame.SETUP, finite=True)


def _when_not_by_it(
    examining: Examining, attempt: Attempt, stretch: Stretch, before: Harm | None, after: Harm
) -> str | None:
    """The words for when the harm comes, where the batches of a stretch are not to blame for it; None where they are.

    A wrong rate, or moments that are damaged, make every update harmful; and an update that harms a little and stands
    makes the next batches odd, whatever they hold.
    """
    if before is None:
        return None
    if before.rise > after.rise - before.rise:
        return ", for the most part before it"
    others = would_harm_too(examining, attempt, stretch, before, after, len(stretch.accepted) + 1)
    return " whichever batch comes" if others else None
