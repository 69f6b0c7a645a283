"""Events of a recovery: signal, incident, decision, action; `schema` exports them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Literal

from pydantic import Field, NonNegativeInt, PositiveInt

from supervisor.events.base import DetailValue, EventBase, Number
from supervisor.evidence import Evidence
from supervisor.records import ActionName, Cause, CauseKind, Decision, Signal, SignalName


class SignalEvent(EventBase):
    """A detector's finding; its numbers are extra fields of the line.

    Attributes:
        signal: its name.
    """

    __pydantic_extra__: dict[str, DetailValue] = Field(init=False)

    event: Literal["signal"] = "signal"
    signal: SignalName

    @classmethod
    def from_signal(cls, signal: Signal, *, step: int, update: int) -> SignalEvent:
        """The event for a signal.

        Raises:
            ValueError: a detail has the name of a field that every line has.
        """
        taken = sorted({*cls.model_fields, "schema"} & set(signal.details))
        if taken:
            raise ValueError(f"details of {signal.name} use reserved names: {', '.join(taken)}: rename them")
        return cls.model_validate({**signal.details, "signal": signal.name, "step": step, "update": update})


class _IncidentEvent(EventBase):
    """What belongs to an incident.

    Attributes:
        incident: its number, from 1.
    """

    incident: PositiveInt


class IncidentOpenedEvent(_IncidentEvent):
    """An incident opens.

    Attributes:
        signals: what opened it, furthest upstream first.
    """

    event: Literal["incident_opened"] = "incident_opened"
    signals: tuple[SignalName, ...] = ()


class DiagnosisEvent(_IncidentEvent):
    """What the diagnosis of a flagged update found; the fields of `records.Cause`."""

    event: Literal["diagnosis"] = "diagnosis"
    kind: CauseKind
    explanation: str = ""
    batch_number: NonNegativeInt | None = None
    module: str | None = None
    module_type: str | None = None
    parameter: str | None = None
    state_key: str | None = None
    samples: tuple[int, ...] = ()
    dataset_indices: tuple[int | str, ...] = ()
    operation: str | None = None
    where: str | None = None
    detail: str | None = None
    exception_type: str | None = None
    after_step: bool = False
    finite_before: bool | None = None
    optimizer: str | None = None
    dtype: str | None = None
    eps: Number | None = None
    attributes: tuple[str, ...] = ()
    earlier_batch_healthy: bool | None = None
    deterministic: bool | None = None
    replays: NonNegativeInt = 0
    seconds: Number = 0.0

    @classmethod
    def from_cause(cls, cause: Cause, *, incident: int) -> DiagnosisEvent:
        """The event for a cause."""
        return cls(incident=incident, **asdict(cause))


class CanaryEvent(EventBase):
    """The first healthy batch after a snapshot was tried again on the snapshot that was put back.

    Attributes:
        restored_step: schedule position of the state.
        verdict: whether it gave the same loss to the bit: `sound`, `different`, or `unknown` where the program is not
            deterministic or the batch could not be tried.
        loss: what it gave now, None where it gave none.
        expected_loss: what it gave then.
    """

    event: Literal["canary"] = "canary"
    restored_step: NonNegativeInt
    verdict: Literal["sound", "different", "unknown"]
    loss: Number | None = None
    expected_loss: Number


class ExperimentEvent(EventBase):
    """Batches that were healthy (canaries) were tried again, to decide.

    Attributes:
        kind: `canaries` on the state before the update, `trial` after it was applied, `fork` on a fork of the training.
        batches: how many were tried; of a fork, how many odd ones it was given.
        before: the median loss that they had, None where they could not be tried; of a fork, what its loss on odd
            batches that it had not seen has to be below.
        after: the median loss that they have now; of a fork, that loss.
        verdict: what they say of the state.
        why: why nothing can be said.
        seconds: wall time it took.
    """

    event: Literal["experiment"] = "experiment"
    kind: Literal["canaries", "trial", "fork"]
    batches: NonNegativeInt
    before: Number | None = None
    after: Number | None = None
    verdict: Literal["harmed", "unharmed", "unknown"]
    why: str | None = None
    seconds: Number = 0.0


class DataShiftEvent(EventBase):
    """The data have changed for good.

    Attributes:
        updates: odd updates in a row that told.
        accepted: whether the training goes on with the new data.
    """

    event: Literal["data_shift"] = "data_shift"
    updates: NonNegativeInt
    accepted: bool = True


class CureTriedEvent(_IncidentEvent):
    """A cure of the set-up was tried on a fork.

    Attributes:
        cure: what it was, as `clip 1.0`.
        score: median loss of the probe batches after it; infinite where anything was not finite.
        from_step: schedule position of the state that it was tried on.
        updates: how many the fork was trained for; those between which the first look did not decide are trained again,
            for longer. None in logs of before it was told.
    """

    event: Literal["cure_tried"] = "cure_tried"
    cure: str
    score: Number
    from_step: NonNegativeInt = 0
    updates: NonNegativeInt | None = None


class CureChosenEvent(_IncidentEvent):
    """A cure of the set-up is in force from here on.

    Attributes:
        cure: what it is.
        score: median loss of the probe batches with it.
        keep_score: that without any.
    """

    event: Literal["cure_chosen"] = "cure_chosen"
    cure: str
    score: Number
    keep_score: Number


class QuarantinedEvent(_IncidentEvent):
    """Samples of the data set are left out from now on.

    Attributes:
        dataset_indices: their indices in the data set.
    """

    event: Literal["quarantined"] = "quarantined"
    dataset_indices: tuple[int | str, ...] = ()


class DecisionEvent(_IncidentEvent):
    """What the engine chose and why; the fields of `records.Decision`.

    Attributes:
        blocked: for each rung, by index, that could not act at that moment, why; with it and the signals a recorded
            run can be decided again.
        can_retry: whether the update's batches could have come again.
        retry: whether they do.
        in_place: whether a halt leaves the present state.
        evidence: what experiments found; the fields of `records.Evidence`.
    """

    event: Literal["decision"] = "decision"
    rung: NonNegativeInt
    action: ActionName
    attempt: PositiveInt
    reason: str
    blocked: dict[int, str] = Field(default_factory=dict)
    can_retry: bool = False
    retry: bool = False
    in_place: bool = False
    evidence: Evidence | None = None

    @classmethod
    def from_decision(
        cls,
        decision: Decision,
        *,
        step: int,
        update: int,
        blocked: Mapping[int, str] | None = None,
        can_retry: bool = False,
        evidence: Evidence | None = None,
    ) -> DecisionEvent:
        """The event for a decision."""
        told = {**asdict(decision), "blocked": dict(blocked or {}), "can_retry": can_retry, "evidence": evidence}
        return cls(step=step, update=update, **told)


class ActionAppliedEvent(_IncidentEvent):
    """An action did its work.

    Attributes:
        action: its name.
        seconds: wall time it took.
        restored_step: schedule position it went back to.
        restored_from: where that state was held.
        replayed_batches: how many of the following batches come again (`data: replay`).
        lr_scale: product of the cuts in force after it.
        modules: qualified names of the modules it redrew.
    """

    event: Literal["action_applied"] = "action_applied"
    action: ActionName
    seconds: Number
    restored_step: NonNegativeInt | None = None
    restored_from: Literal["memory", "disk"] | None = None
    replayed_batches: NonNegativeInt = 0
    lr_scale: Number | None = None
    modules: tuple[str, ...] | None = None


class ActionFailedEvent(_IncidentEvent):
    """An action could not do its work; the engine decides again.

    Attributes:
        action: its name.
        error: why.
    """

    event: Literal["action_failed"] = "action_failed"
    action: ActionName
    error: str


class IncidentClosedEvent(_IncidentEvent):
    """An incident is over.

    Attributes:
        cured_by: action of the rung used last.
        steps_lost: flagged steps, the steps undone with them, and the applied steps that reloads went back over.
        seconds: wall time from the first signal to the end of the cool-down.
    """

    event: Literal["incident_closed"] = "incident_closed"
    cured_by: ActionName
    steps_lost: NonNegativeInt
    seconds: Number


class LrRestoredEvent(EventBase):
    """A learning-rate cut was taken back.

    Attributes:
        lr_scale: product of the cuts that are still in force.
    """

    event: Literal["lr_restored"] = "lr_restored"
    lr_scale: Number
