"""What the engine makes of evidence: bad data are skipped without climbing, a damaged state goes back."""

from __future__ import annotations

from dataclasses import replace

from supervisor.engine.state import BadBatches, EngineState, OpenIncident
from supervisor.evidence import Blame, Evidence
from supervisor.policy import AnyRung, HaltRung, Reaction, Reactions, RecoveryPolicy
from supervisor.records import ActionName, CauseKind, Decision, SignalName

__all__ = ["answer_by_evidence", "entry_by_evidence", "without_redrawing"]

AS_DEFAULT = Reactions()
"""A reaction other than this one is the user's own word."""


def answer_by_evidence(
    state: EngineState,
    incident: OpenIncident,
    evidence: Evidence,
    found: tuple[SignalName | CauseKind, ...],
    policy: RecoveryPolicy,
) -> tuple[EngineState, Decision] | None:
    """Decide where the state is sound or the program is at fault: no rung's attempts or limit are spent.

    Args:
        state: the engine's memory; the incident counts in it already.
        incident: the open one, or the one that is to be opened.
        evidence: what the experiments found.
        found: the signals and the cause.
        policy: the ladder.

    Returns:
        The memory and the decision; None where the ladder is to be climbed as it is written.
    """
    skip = rung_of(policy, ActionName.SKIP_BATCH)
    match evidence.blame:
        case Blame.CODE:
            return _halted(state, incident, evidence.why, policy)
        case Blame.MACHINE if skip is not None:
            again = evidence.batch is not None and evidence.batch == state.bad.retried
            if again or _written_higher(found, policy, skip):
                return None
            coming = "its batch comes again" if evidence.repeatable else "its batch cannot come again and is left out"
            bad = replace(state.bad, retried=evidence.batch)
            return _skipped(replace(state, bad=bad), incident, skip, f"{evidence.why}; {coming}", evidence.repeatable)
        case Blame.SETUP if skip is not None and not _written_higher(found, policy, skip):
            coming = "; its batch comes again" if evidence.repeatable else ""
            return _skipped(state, incident, skip, f"{evidence.why}{coming}", evidence.repeatable)
        case Blame.DATA if skip is not None:
            if _written_higher(found, policy, skip):
                return None
            state = replace(state, bad=_counted(state, evidence, policy))
            beyond = "the policy halts where the data change for good" if evidence.shifted else _beyond(state, policy)
            if beyond is not None:
                return _halted(state, incident, f"{evidence.why}; {beyond}{_of_no_help(policy)}", policy)
            return _skipped(state, incident, skip, evidence.why, retry=False)
        case _:
            return None


def entry_by_evidence(evidence: Evidence | None, policy: RecoveryPolicy) -> int:
    """The lowest rung that can help: a damaged state needs one that goes back."""
    if evidence is None or evidence.blame is not Blame.STATE:
        return 0
    return rung_of(policy, ActionName.RELOAD_CHECKPOINT) or 0


def without_redrawing(
    before: EngineState, incident: OpenIncident, decision: Decision, evidence: Evidence | None, policy: RecoveryPolicy
) -> tuple[EngineState, Decision] | None:
    """Finite numbers alone redraw no weights and halt no run: skip instead. None where the decision stands."""
    skip = rung_of(policy, ActionName.SKIP_BATCH)
    if evidence is None or not evidence.finite or evidence.blame is not Blame.UNKNOWN or skip is None:
        return None
    if decision.action not in (ActionName.REINITIALIZE, ActionName.HALT):
        return None
    why = f"{evidence.why}; every number is finite, which is no reason to {decision.action}"
    return _skipped(before, incident, skip, why, retry=False)


def where_sound(decision: Decision, evidence: Evidence | None) -> Decision:
    """The decision; a halt leaves a state as it stands that experiments have found sound."""
    sound = evidence is not None and evidence.blame in (Blame.DATA, Blame.MACHINE, Blame.CODE)
    return replace(decision, in_place=True) if sound and decision.action is ActionName.HALT else decision


def rung_of(policy: RecoveryPolicy, action: ActionName) -> int | None:
    """Index of the first rung with an action, None where the ladder lacks it."""
    return next((index for index, rung in enumerate(policy.ladder) if rung.action is action), None)


def _written_higher(found: tuple[SignalName | CauseKind, ...], policy: RecoveryPolicy, skip: int) -> bool:
    """Whether the user wrote a higher rung for what was found, beside the defaults."""
    for name in found:
        reaction = policy.reactions.of(name)
        own = reaction is not None and reaction is not Reaction.OBSERVE and reaction is not AS_DEFAULT.of(name)
        if own and policy.reaction_rung(name) > skip:
            return True
    return False


def _skipped(
    state: EngineState, incident: OpenIncident, skip: int, why: str, retry: bool
) -> tuple[EngineState, Decision]:
    incident = replace(incident, excused=incident.excused + 1)
    attempt = incident.attempts[skip] + incident.excused
    decision = Decision(incident.id, skip, ActionName.SKIP_BATCH, attempt, why, retry=retry)
    return replace(state, incident=incident), decision


def _halted(
    state: EngineState, incident: OpenIncident, why: str, policy: RecoveryPolicy
) -> tuple[EngineState, Decision]:
    last = len(policy.ladder) - 1
    attempts = tuple(count + (index == last) for index, count in enumerate(incident.attempts))
    incident = replace(incident, rung=last, attempts=attempts, healthy_steps=0)
    decision = Decision(incident.id, last, ActionName.HALT, attempts[last], why, in_place=True)
    return replace(state, incident=incident), decision


def _counted(state: EngineState, evidence: Evidence, policy: RecoveryPolicy) -> BadBatches:
    bad, settings = state.bad, policy.experiments
    horizon = state.clock - (0 if settings is None else settings.bad_data.window_updates)
    recent = tuple(each for each in bad.recent if each[0] > horizon)
    return replace(
        bad,
        recent=(*recent, (state.clock, evidence.batches)) if evidence.batches else recent,
        in_a_row=bad.in_a_row + evidence.batches,
        since=state.clock if bad.in_a_row == 0 else bad.since,
        # Those whose bad rows are known count here alone.
        total=bad.total + max(1, evidence.batches),
    )


def _beyond(state: EngineState, policy: RecoveryPolicy) -> str | None:
    """How the bad batches are more than the policy allows; None where they are not."""
    if policy.experiments is None:
        return None
    allowed, bad = policy.experiments.bad_data, state.bad
    if bad.in_a_row > allowed.in_a_row:
        since = f"since the update {bad.in_a_row - 1} before this one"
        return f"{bad.in_a_row} bad batches in a row {since}, where bad_data.in_a_row allows {allowed.in_a_row}"
    within = sum(count for _, count in bad.recent)
    if within > allowed.share * allowed.window_updates:
        first = state.clock - bad.recent[0][0]
        most = f"bad_data.share allows {allowed.share:g} of them"
        window = f"the last {allowed.window_updates} updates"
        return f"{within} bad batches within {window}, the first {first} updates ago, where {most}"
    return None


def _of_no_help(policy: RecoveryPolicy) -> str:
    rungs: list[AnyRung] = [
        rung for rung in policy.ladder if not isinstance(rung, HaltRung) and rung.action is not ActionName.SKIP_BATCH
    ]
    names = ", ".join(dict.fromkeys(rung.action.value for rung in rungs))
    return f"; passed over: {names} (the state is sound: it cannot help bad data)" if names else ""
