"""Who is to blame: for an update that was discarded, and for a trial that did harm and is undone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from supervisor.evidence import Blame, Evidence
from supervisor.experiments.canaries import Canary
from supervisor.experiments.examining import Examining
from supervisor.experiments.harm import Harm
from supervisor.experiments.probing import ProbeFailed
from supervisor.experiments.stretch import Stretch
from supervisor.experiments.suspicion import as_finding, bad_batch, damaged, high_rate
from supervisor.experiments.verdict import Verdict, makes_up_for_it, verdict
from supervisor.policy import SPIKES
from supervisor.records import Cause, CauseKind, Signal, SignalName
from supervisor.update import Attempt

__all__ = ["convict_state", "convict_stretch", "convict_update"]


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
    try:
        said = examining.before_update(attempt, canaries)
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
    still = "are again after a few updates" if found is Verdict.HEALS else "still are"
    how = f"{len(canaries)} batches that were healthy {still}: {said}"
    return replace(bad_batch(attempt, data, how), finite=finite)


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
    finding, subject = as_finding(attempt.suspicions), examining.tools.subject
    diverged = replace(finding, name=SignalName.DIVERGENCE)
    rate = high_rate(attempt.suspicions)
    if stretch.pin is None:
        if rate is not None:
            examining.detectors.rate.refuse()
        if after.severe:
            attempt.signals, attempt.evidence = (diverged,), damaged(after, " after it", finite=True)
        attempt.odd = not after.severe
        return after.severe
    applied = subject.capture()
    subject.restore(stretch.pin)
    try:
        before = examining.before_update(attempt, stretch.canaries)
    except ProbeFailed:
        before = None
    was_harmed = before is not None and before.harmed
    if before is not None and was_harmed:
        found = verdict(examining, attempt, before, stretch.canaries, root=stretch.pin, harmed_before=stretch.harmed)
        if found is not Verdict.LOST:
            subject.restore(applied)
            attempt.odd = True
            return False
    attempt.undone, attempt.gone_back_over = True, len(stretch.accepted)
    if before is not None and was_harmed:
        attempt.signals, attempt.evidence = (diverged,), damaged(before, " before it", finite=True)
        return True
    if rate is not None:
        if makes_up_for_it(examining, attempt, after, stretch.canaries, applied):
            subject.restore(applied)
            attempt.odd = True
            return False
        examining.detectors.rate.refuse()
        how = "until it is that low again, updates are made at the highest rate so far"
        why = f"{rate}; applied on trial, it harmed batches that were healthy: {after}; {how}"
        attempt.signals = (finding,)
        attempt.evidence = replace(bad_batch(attempt, examining.tools.data, why), blame=Blame.SETUP, finite=True)
        return True
    what = "it and those before it harmed" if stretch.accepted else "it harmed"
    attempt.signals = (finding,)
    why = f"applied on trial, {what} batches that were healthy: {after}"
    attempt.evidence = replace(bad_batch(attempt, examining.tools.data, why), finite=True)
    stretch.prove_harmful()
    stretch.leave_out(attempt.batches)
    return True
