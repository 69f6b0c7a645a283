"""What a line of the event log can say: one frozen model per event name.

The log stamps `time`, `run_id` and `rank`, so whoever reports something builds a model without them:

    log.emit(StepEvent(step=20, update=21, loss=0.7, grad_norm=1.2, lr=1e-3, lr_scale=1.0, step_seconds=0.03))

Fields may be added to an event, and names to the schema, without raising `schema`: readers keep what they do
not know.
"""

from __future__ import annotations

import functools
from typing import Annotated, Any, get_args

from pydantic import Field, TypeAdapter, ValidationError

from supervisor.events.base import EventBase, OtherEvent
from supervisor.events.headroom_event import HeadroomEvent
from supervisor.events.process_events import (
    ORDERLY_EXITS,
    ExitClassification,
    WorkerExitedEvent,
    WorkerRestartingEvent,
    WorkerStalledEvent,
    WorkerStartedEvent,
)
from supervisor.events.recovery_events import (
    ActionAppliedEvent,
    ActionFailedEvent,
    CanaryEvent,
    CureChosenEvent,
    CureTriedEvent,
    DataShiftEvent,
    DecisionEvent,
    DiagnosisEvent,
    ExperimentEvent,
    IncidentClosedEvent,
    IncidentOpenedEvent,
    LrRestoredEvent,
    QuarantinedEvent,
    SignalEvent,
)
from supervisor.events.run_events import (
    BestCheckpointEvent,
    BufferExemptEvent,
    CheckpointPromotedEvent,
    CheckpointRejectedEvent,
    CheckpointSavedEvent,
    MetricsEvent,
    RunFinishedEvent,
    RunHaltedEvent,
    RunResumedEvent,
    RunStartedEvent,
    RunStatus,
    RunSummary,
    SettingsChangedEvent,
    StepEvent,
    WarningEvent,
)
from supervisor.events.sink_events import SinkFailedEvent, SinkReadyEvent
from supervisor.records import SignalName

__all__ = [
    "ORDERLY_EXITS",
    "ActionAppliedEvent",
    "ActionFailedEvent",
    "BestCheckpointEvent",
    "BufferExemptEvent",
    "CanaryEvent",
    "CheckpointPromotedEvent",
    "CheckpointRejectedEvent",
    "CheckpointSavedEvent",
    "CureChosenEvent",
    "CureTriedEvent",
    "DataShiftEvent",
    "DecisionEvent",
    "DiagnosisEvent",
    "Event",
    "EventBase",
    "ExitClassification",
    "ExperimentEvent",
    "HeadroomEvent",
    "IncidentClosedEvent",
    "IncidentOpenedEvent",
    "KnownEvent",
    "LrRestoredEvent",
    "MetricsEvent",
    "OtherEvent",
    "QuarantinedEvent",
    "RunFinishedEvent",
    "RunHaltedEvent",
    "RunResumedEvent",
    "RunStartedEvent",
    "RunStatus",
    "RunSummary",
    "SettingsChangedEvent",
    "SignalEvent",
    "SinkFailedEvent",
    "SinkReadyEvent",
    "StepEvent",
    "WarningEvent",
    "WorkerExitedEvent",
    "WorkerRestartingEvent",
    "WorkerStalledEvent",
    "WorkerStartedEvent",
    "no_such_event",
    "parse_event",
]

KnownEvent = Annotated[
    RunStartedEvent
    | RunResumedEvent
    | SettingsChangedEvent
    | StepEvent
    | SignalEvent
    | IncidentOpenedEvent
    | DiagnosisEvent
    | QuarantinedEvent
    | CanaryEvent
    | HeadroomEvent
    | ExperimentEvent
    | DataShiftEvent
    | CureTriedEvent
    | CureChosenEvent
    | DecisionEvent
    | ActionAppliedEvent
    | ActionFailedEvent
    | IncidentClosedEvent
    | CheckpointSavedEvent
    | CheckpointPromotedEvent
    | CheckpointRejectedEvent
    | BestCheckpointEvent
    | WorkerStartedEvent
    | WorkerExitedEvent
    | WorkerRestartingEvent
    | WorkerStalledEvent
    | RunHaltedEvent
    | RunFinishedEvent
    | LrRestoredEvent
    | MetricsEvent
    | BufferExemptEvent
    | SinkReadyEvent
    | SinkFailedEvent
    | WarningEvent,
    Field(discriminator="event"),
]
Event = KnownEvent | OtherEvent


def no_such_event(name: str) -> str | None:
    """What to write on the command line instead of a name that no event has; None where one has it."""
    union, _ = get_args(KnownEvent)
    names = [model.model_fields["event"].default for model in get_args(union)]
    if name in names:
        return None
    return "it is a signal: write --event signal" if name in list(SignalName) else f"write one of {', '.join(names)}"


@functools.cache
def _known() -> TypeAdapter[Any]:
    # Built when the first event is read: a worker, which only writes, starts sooner without it.
    return TypeAdapter(KnownEvent)


_REQUIRED = {"schema_version": "schema", "time": "time", "event": "event", "run_id": "run_id"}


def parse_event(line: bytes | str) -> Event:
    """The event on one line of a log.

    Raises:
        ValueError: the line is not an event; pydantic's `ValidationError` is one.
    """
    try:
        event: Event = _known().validate_json(line)
    except ValidationError as error:
        if error.errors(include_url=False, include_input=False)[0]["type"] != "union_tag_invalid":
            raise
        event = OtherEvent.model_validate_json(line)
    missing = [name for field, name in _REQUIRED.items() if field not in event.model_fields_set]
    if missing:
        raise ValueError(f"without {', '.join(missing)}")
    return event
