"""The transitions of the engine: a flagged update, a healthy step, an action that failed, one that went back.

Each is a pure function of its arguments, so that all ranks decide alike without talking, and so that a
recorded run can be decided again under another policy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from supervisor.engine.evidence import answer_by_evidence, entry_by_evidence, where_sound, without_redrawing
from supervisor.engine.state import Closed, EngineState, LearningRateCut, OpenIncident
from supervisor.evidence import Evidence
from supervisor.policy import (
    SPIKES,
    AnyRung,
    HaltRung,
    LowerLrRung,
    RecoveryPolicy,
    ReinitializeRung,
    ReloadCheckpointRung,
    TryCuresRung,
)
from supervisor.records import ActionName, CauseKind, Decision, Signal, SignalName

__all__ = ["advance", "decide", "dismissed", "no_further", "passed_over", "reject", "restored"]

NOTHING_CLOSED = Closed()
"""The result of a healthy step with which nothing ends, as with nearly every one."""

NOT_THE_RATE = frozenset({CauseKind.BAD_INPUT, CauseKind.EXCEPTION, CauseKind.HIDDEN_STATE, CauseKind.NOT_REPRODUCIBLE})
"""Causes that a lower learning rate does not help against."""


def decide(
    state: EngineState,
    signals: Sequence[Signal],
    policy: RecoveryPolicy,
    *,
    blocked: Mapping[int, str] | None = None,
    cause: CauseKind | None = None,
    can_retry: bool = False,
    evidence: Evidence | None = None,
) -> tuple[EngineState, Decision]:
    """Choose the rung for one flagged update.

    Args:
        state: the engine's memory before the update.
        signals: what the detectors found, furthest upstream first; at least one that is not only observed.
        policy: the ladder, its limits and its reactions.
        blocked: for each rung that cannot act now, why.
        cause: what the diagnosis found, None where it found nothing.
        can_retry: whether the update's batches can come again.
        evidence: what experiments found, None where none was made: counting alone decides then.

    Returns:
        The engine's memory after the decision, and the decision with its explanation. It always ends: where no
        other rung is left, the decision is `halt`.

    Raises:
        ValueError: every signal is only observed, so that there is nothing to decide.
    """
    causes = policy.acted_on(signals)
    found: list[SignalName | CauseKind] = [signal.name for signal in causes]
    highest = max(found if cause is None else [*found, cause], key=policy.reaction_rung)
    damaged = entry_by_evidence(evidence, policy)
    entry = max(policy.reaction_rung(highest), damaged)
    incident = state.incident
    if incident is None:
        start = entry
        incident = OpenIncident(state.incidents + 1, entry, (0,) * len(policy.ladder))
        state = replace(state, incidents=state.incidents + 1)
        origin = f"{causes[0].name} opens incident {incident.id}"
    else:
        start = max(incident.rung, entry)
        origin = f"{causes[0].name} in incident {incident.id}"
    if evidence is not None:
        answered = answer_by_evidence(
            state, incident, evidence, tuple(found if cause is None else (*found, cause)), policy
        )
        if answered is not None:
            state, decision = answered
            return state, replace(decision, reason=f"{origin}; {decision.reason}")
        origin += f"; {evidence.why}"
    if entry > 0 and start == entry:
        by = "what the experiment found" if damaged == entry else f"the reaction to {highest}"
        origin += f", at rung {entry} by {by}"
    again = can_retry and policy.retries and cause is CauseKind.NOT_REPRODUCIBLE and not incident.retried
    blocked = {**_redraws(state, causes, policy), **(blocked or {})}
    climbed, decision = _climb(state, incident, start, policy, blocked, origin)
    instead = without_redrawing(state, incident, decision, evidence, policy)
    if instead is not None:
        return instead
    state, decision = climbed, where_sound(decision, evidence)
    if not again or decision.action is not ActionName.SKIP_BATCH or state.incident is None:
        return state, decision
    reason = f"{decision.reason}; the step could not be reproduced: its batch comes again"
    return replace(state, incident=replace(state.incident, retried=True)), replace(decision, reason=reason, retry=True)


def reject(
    state: EngineState,
    failed: Decision,
    error: str,
    policy: RecoveryPolicy,
    *,
    blocked: Mapping[int, str] | None = None,
) -> tuple[EngineState, Decision]:
    """Decide again, at once, after an action failed: its rung is spent for this incident.

    Args:
        state: the engine's memory after the failed decision.
        failed: that decision.
        error: what went wrong, for the reason.
        policy: as for `decide`.
        blocked: as for `decide`.
    """
    incident = state.incident
    if incident is None:
        raise ValueError("an action can only fail while an incident is open")
    attempts = list(incident.attempts)
    rung = policy.ladder[failed.rung]
    attempts[failed.rung] = 1 if isinstance(rung, HaltRung) else rung.attempts
    incident = replace(incident, attempts=tuple(attempts))
    origin = f"{failed.action} failed ({error})"
    start = failed.rung
    if failed.action is ActionName.TRY_CURES:
        # The reload below it, if one was passed over for it, is what is left to try.
        start = max((i for i in _reloads(policy) if i < failed.rung), default=failed.rung)
    return _climb(state, incident, start, policy, blocked or {}, origin)


def dismissed(state: EngineState) -> EngineState:
    """Note that there is nothing to be done about a finding: its incident is over."""
    return replace(state, incident=None)


def no_further(
    state: EngineState,
    policy: RecoveryPolicy,
    newest_good: int | None,
    *,
    blocked: Mapping[int, str],
    cause: CauseKind | None,
) -> dict[int, str]:
    """The reloads that are passed over because a cure of the set-up is to be looked for first, with that reason.

    That is where healthy steps followed a reload and the good state is no further than then: going back once more
    would lead there again.

    Args:
        state: the engine's memory before the update.
        policy: the ladder.
        newest_good: step of the state that a reload would go back to, None where there is none.
        blocked: for each rung that cannot act now, why.
        cause: what the diagnosis found.
    """
    led_nowhere = (
        state.stepped_since_restore and newest_good is not None and newest_good <= state.furthest_restored_step
    )
    if not led_nowhere or cause in NOT_THE_RATE or not any(state.restores):
        return {}
    cures = [i for i, rung in enumerate(policy.ladder) if rung.action is ActionName.TRY_CURES]
    usable = [i for i in cures if passed_over(state, i, policy, blocked=blocked) is None]
    why = f"a reload led no further than step {state.furthest_restored_step}: cures are tried first"
    return {index: why for index in _reloads(policy) if any(index < cure for cure in usable)}


def passed_over(
    state: EngineState, rung: int, policy: RecoveryPolicy, *, blocked: Mapping[int, str] | None = None
) -> str | None:
    """Why a rung could not be used now; None where it could."""
    incident = state.incident or OpenIncident(state.incidents + 1, 0, (0,) * len(policy.ladder))
    uses = state.uses or ((),) * len(policy.ladder)
    return _why_not(state, incident, rung, policy.ladder[rung], uses[rung], blocked or {})


def advance(state: EngineState, policy: RecoveryPolicy) -> tuple[EngineState, Closed]:
    """Count one healthy step: cuts run out, and enough of them in a row close the incident.

    Replayed batches are not healthy steps: do not call this for them.
    """
    if state.bad.in_a_row:
        state = replace(state, bad=replace(state.bad, in_a_row=0))
    if state.incident is None and not state.cuts:
        return state, NOTHING_CLOSED
    before = len(state.cuts)
    if state.restores and not state.stepped_since_restore:
        state = replace(state, stepped_since_restore=True)
    cuts = tuple(
        replace(cut, healthy_steps_left=cut.healthy_steps_left - 1) for cut in state.cuts if cut.healthy_steps_left > 1
    )
    incident = state.incident
    if incident is None:
        return replace(state, cuts=cuts), Closed(cuts_taken_back=before - len(cuts))
    incident = replace(incident, healthy_steps=incident.healthy_steps + 1)
    if incident.healthy_steps < policy.cooldown_steps:
        return replace(state, cuts=cuts, incident=incident), Closed(cuts_taken_back=before - len(cuts))
    # A cut after which a higher rung was needed was not the cure, and would only slow the training down.
    cuts = tuple(cut for cut in cuts if cut.incident != incident.id or cut.rung >= incident.rung)
    closed = Closed(incident.id, policy.ladder[incident.rung].action, before - len(cuts))
    return replace(state, cuts=cuts, incident=None), closed


def restored(
    state: EngineState, rung: int, step: int, policy: RecoveryPolicy, *, cause: CauseKind | None = None
) -> EngineState:
    """Note that a rung went back to a step.

    A reload that follows an earlier one, with healthy steps between them that led no further, adds a cut by its
    `retry_factor`: the data were fresh and the state was good, so what is left is how far each update goes. Where
    not one step was healthy in between, the diagnosis found a cause in `NOT_THE_RATE`, or cures were tried in the
    incident (other rates among them, and none trained better), the rate stays as it is.
    """
    at_fault = state.stepped_since_restore and step <= state.furthest_restored_step and cause not in NOT_THE_RATE
    state = state.restored(rung, step)
    settings, incident = policy.ladder[rung], state.incident
    cures = [i for i, each in enumerate(policy.ladder) if isinstance(each, TryCuresRung)]
    at_fault = at_fault and not (incident and any(incident.attempts[index] for index in cures))
    if not (at_fault and incident and isinstance(settings, ReloadCheckpointRung) and settings.retry_factor):
        return state
    cut = LearningRateCut(incident.id, rung, settings.retry_factor, settings.restore_after_steps)
    return replace(state, cuts=(*state.cuts, cut))


def _reloads(policy: RecoveryPolicy) -> list[int]:
    return [index for index, rung in enumerate(policy.ladder) if isinstance(rung, ReloadCheckpointRung)]


def _redraws(state: EngineState, causes: Sequence[Signal], policy: RecoveryPolicy) -> dict[int, str]:
    """The rungs that redraw weights, or change the set-up, with the reason why not, if only spikes were found on an
    untouched good state."""
    if state.stepped_since_restore or not state.restores or any(signal.name not in SPIKES for signal in causes):
        return {}
    why = "a good state spiked before its first update: the batches are at fault, not its weights"
    kinds = (TryCuresRung, ReinitializeRung)
    return {index: why for index, rung in enumerate(policy.ladder) if isinstance(rung, kinds)}


def _climb(
    state: EngineState,
    incident: OpenIncident,
    start: int,
    policy: RecoveryPolicy,
    blocked: Mapping[int, str],
    origin: str,
) -> tuple[EngineState, Decision]:
    uses = state.uses or ((),) * len(policy.ladder)
    passed_over: list[str] = []
    for index in range(start, len(policy.ladder)):
        rung = policy.ladder[index]
        why_not = _why_not(state, incident, index, rung, uses[index], blocked)
        if why_not is None:
            break
        passed_over.append(f"{rung.action} ({why_not})")
    attempts = tuple(count + (i == index) for i, count in enumerate(incident.attempts))
    use = "" if isinstance(rung, HaltRung) else f"; attempt {attempts[index]} of {rung.attempts}"
    over = f"; passed over: {', '.join(passed_over)}" if passed_over else ""
    decision = Decision(incident.id, index, rung.action, attempts[index], f"{origin}{use}{over}")
    cuts = state.cuts
    if isinstance(rung, LowerLrRung):
        cuts = (*cuts, LearningRateCut(incident.id, index, rung.factor, rung.restore_after_steps))
    if not isinstance(rung, HaltRung) and rung.limit is not None:
        horizon = state.clock - rung.limit.window_updates
        recent = (*(use for use in uses[index] if use > horizon), state.clock)
        uses = (*uses[:index], recent, *uses[index + 1 :])
    incident = replace(incident, rung=index, attempts=attempts, healthy_steps=0)
    return replace(state, incident=incident, uses=uses, cuts=cuts), decision


def _why_not(
    state: EngineState,
    incident: OpenIncident,
    index: int,
    rung: AnyRung,
    uses: tuple[int, ...],
    blocked: Mapping[int, str],
) -> str | None:
    """Why the rung at `index` is passed over; None when it can be used."""
    if isinstance(rung, HaltRung):
        return None
    if incident.attempts[index] >= rung.attempts:
        are = "is" if rung.attempts == 1 else "are"
        return f"its {_count(rung.attempts, 'attempt')} in this incident {are} spent"
    if rung.limit is not None:
        horizon = state.clock - rung.limit.window_updates
        if sum(use > horizon for use in uses) >= rung.limit.uses:
            limit = _count(rung.limit.uses, "use")
            return f"its limit of {limit} in {rung.limit.window_updates} updates is spent"
        # Otherwise faults that come just more seldom than the limit allows could send a run back for ever.
        went_back = state.restores[index] if index < len(state.restores) else 0
        if went_back >= rung.limit.uses:
            times = _count(went_back, "time")
            return f"it went back {times}, no further than step {state.furthest_restored_step}"
    return blocked.get(index, None)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
