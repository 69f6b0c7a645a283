"""Every event model says on a line what it says in Python, in strict JSON."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, NoReturn, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from supervisor.events import schema
from supervisor.events.base import EventBase
from supervisor.events.schema import KnownEvent, OtherEvent, parse_event
from supervisor.events.time_account import TimeAccount
from supervisor.evidence import Blame, Evidence
from supervisor.headroom import Quantity
from supervisor.records import ActionName, CauseKind, SignalName

MODELS: tuple[type[EventBase], ...] = get_args(get_args(KnownEvent)[0])

# Section 5.4 of the design, and the additions that the schema documents.
NAMES = {
    *("run_started", "run_resumed", "step", "signal", "decision", "action_applied", "action_failed"),
    *("incident_opened", "incident_closed", "checkpoint_saved", "checkpoint_promoted", "checkpoint_rejected"),
    "checkpoint_best",
    *("worker_started", "worker_exited", "worker_stalled", "worker_restarting", "run_halted", "run_finished"),
    *("lr_restored", "metrics", "buffer_exempt", "warning", "diagnosis", "quarantined", "canary"),
    *("sink_ready", "sink_failed"),
    *("experiment", "data_shift", "cure_tried", "cure_chosen", "settings_changed", "headroom"),
}

names = st.text(min_size=1, max_size=8).filter(lambda text: text not in {"nan", "inf", "-inf"})
numbers = st.floats(allow_nan=True, allow_infinity=True)
counts = st.integers(min_value=0, max_value=2**40)
positive = st.integers(min_value=1, max_value=2**40)
times = st.datetimes(min_value=datetime(1970, 1, 2), max_value=datetime(2200, 1, 1)).map(
    lambda time: time.replace(tzinfo=UTC)
)
metrics = st.dictionaries(names, numbers, max_size=3)
details = st.dictionaries(
    st.sampled_from(["loss", "grad_norm", "z", "count", "bad_gradients", "flag", "where"]),
    numbers | counts | st.booleans() | names | st.lists(names, max_size=3).map(tuple),
    max_size=4,
)
summaries = st.builds(
    schema.RunSummary,
    status=st.sampled_from(schema.RunStatus),
    steps=counts,
    applied_steps=counts,
    skipped_steps=counts,
    incidents=counts,
    incidents_by_signal=st.dictionaries(st.sampled_from(SignalName), counts, max_size=3),
    cured_by=st.dictionaries(st.sampled_from(ActionName), counts, max_size=3),
    lr_scale=numbers,
    final_loss=st.none() | numbers,
    metrics=metrics,
    seconds=numbers,
    goodput=st.none() | numbers,
    account=st.none() | st.builds(TimeAccount, training=numbers, down=numbers),
)
signals = st.sampled_from(SignalName)
actions = st.sampled_from(ActionName)
text_or_none = st.none() | names
evidence = st.builds(
    Evidence,
    blame=st.sampled_from(Blame),
    why=names,
    batches=counts,
    finite=st.booleans(),
    repeatable=st.booleans(),
    batch=st.none() | counts,
    shifted=st.booleans(),
)
stamps: dict[str, Any] = {
    "time": times,
    "run_id": names,
    "rank": st.none() | counts,
    "step": st.none() | counts,
    "update": st.none() | counts,
    "life": st.none() | counts,
    "monotonic": st.none() | st.floats(0, 1e9),
    "boot": text_or_none,
}
spent = dict.fromkeys(("applied_seconds", "states_seconds"), st.none() | numbers)
checkpoint: dict[str, Any] = {"checkpoint_step": counts, "path": names, "reason": text_or_none}
FIELDS: dict[type[EventBase], dict[str, Any]] = {
    schema.RunStartedEvent: {
        "steps": st.none() | positive,
        "seed": st.none() | st.integers(),
        "trainer": text_or_none,
        "device": text_or_none,
        "policy": text_or_none,
        "version": text_or_none,
        "log": text_or_none,
        "accumulate": positive,
    },
    schema.RunResumedEvent: {
        "checkpoint_step": counts,
        "path": text_or_none,
        "steps": st.none() | positive,
        "reason": text_or_none,
        "ladder_begins_anew": st.booleans(),
        "after_halt": st.booleans(),
    },
    schema.SettingsChangedEvent: {"changes": st.lists(names, max_size=3).map(tuple)},
    schema.StepEvent: {
        "loss": numbers,
        "grad_norm": numbers,
        "lr": numbers,
        "lr_scale": numbers,
        "step_seconds": numbers,
        "rung": st.none() | counts,
        "incidents": counts,
        **spent,
    },
    schema.IncidentOpenedEvent: {"incident": positive, "signals": st.lists(signals, max_size=3).map(tuple)},
    schema.DiagnosisEvent: {
        "incident": positive,
        "kind": st.sampled_from(CauseKind),
        "explanation": names,
        **dict.fromkeys(("module", "module_type", "parameter", "state_key", "operation", "where"), text_or_none),
        **dict.fromkeys(("exception_type", "detail", "optimizer", "dtype"), text_or_none),
        "after_step": st.booleans(),
        **dict.fromkeys(("finite_before", "earlier_batch_healthy"), st.none() | st.booleans()),
        "eps": st.none() | numbers,
        "attributes": st.lists(names, max_size=3).map(tuple),
        "batch_number": st.none() | counts,
        "samples": st.lists(counts, max_size=3).map(tuple),
        "dataset_indices": st.lists(counts | names, max_size=3).map(tuple),
        "deterministic": st.none() | st.booleans(),
        "replays": counts,
        "seconds": numbers,
    },
    schema.CanaryEvent: {
        "restored_step": counts,
        "verdict": st.sampled_from(["sound", "different", "unknown"]),
        "loss": st.none() | numbers,
        "expected_loss": numbers,
    },
    schema.ExperimentEvent: {
        "kind": st.sampled_from(["canaries", "trial", "fork"]),
        "batches": counts,
        "before": st.none() | numbers,
        "after": st.none() | numbers,
        "verdict": st.sampled_from(["harmed", "unharmed", "unknown"]),
        "why": text_or_none,
        "seconds": numbers,
    },
    schema.HeadroomEvent: {
        "quantity": st.sampled_from(Quantity),
        "parameter": names,
        "value": numbers,
        "bound": numbers,
        "slope": numbers,
        "horizon": counts,
        "others": counts,
        "bits": st.none() | numbers,
    },
    schema.DataShiftEvent: {"updates": counts, "accepted": st.booleans()},
    schema.QuarantinedEvent: {
        "incident": positive,
        "dataset_indices": st.lists(counts | names, max_size=3).map(tuple),
    },
    schema.DecisionEvent: {
        "incident": positive,
        "rung": counts,
        "action": actions,
        "attempt": positive,
        "reason": names,
        "blocked": st.dictionaries(counts, names, max_size=3),
        "can_retry": st.booleans(),
        "retry": st.booleans(),
        "in_place": st.booleans(),
        "evidence": st.none() | evidence,
    },
    schema.ActionAppliedEvent: {
        "incident": positive,
        "action": actions,
        "seconds": numbers,
        "restored_step": st.none() | counts,
        "restored_from": st.sampled_from([None, "memory", "disk"]),
        "replayed_batches": counts,
        "lr_scale": st.none() | numbers,
        "modules": st.none() | st.lists(names, max_size=3).map(tuple),
    },
    schema.CureTriedEvent: {
        "incident": positive,
        "cure": names,
        "score": numbers,
        "from_step": counts,
        "updates": st.none() | counts,
    },
    schema.CureChosenEvent: {"incident": positive, "cure": names, "score": numbers, "keep_score": numbers},
    schema.ActionFailedEvent: {"incident": positive, "action": actions, "error": names},
    schema.IncidentClosedEvent: {
        "incident": positive,
        "cured_by": actions,
        "steps_lost": counts,
        "seconds": numbers,
    },
    schema.CheckpointSavedEvent: checkpoint,
    schema.CheckpointPromotedEvent: checkpoint,
    schema.CheckpointRejectedEvent: {**checkpoint, "reason": names},
    schema.BestCheckpointEvent: {**checkpoint, "metric": names, "value": numbers},
    schema.WorkerStartedEvent: {"pid": positive, "restarts": counts, "steps": st.none() | positive},
    schema.WorkerExitedEvent: {
        "pid": positive,
        "exit_code": st.none() | st.integers(0, 255),
        "signal": text_or_none,
        "classification": st.sampled_from(schema.ExitClassification),
        "reason": text_or_none,
        "rows": st.none() | st.lists(st.integers(0, 9) | names, max_size=3).map(tuple),
    },
    schema.WorkerRestartingEvent: {"seconds": numbers},
    schema.WorkerStalledEvent: {"pid": positive, "seconds": numbers, "limit": text_or_none},
    schema.RunHaltedEvent: {"reason": names, "summary": st.none() | summaries, **spent},
    schema.RunFinishedEvent: {
        "status": st.sampled_from([schema.RunStatus.FINISHED, schema.RunStatus.INTERRUPTED]),
        "summary": summaries,
        **spent,
    },
    schema.LrRestoredEvent: {"lr_scale": numbers},
    schema.MetricsEvent: {"metrics": metrics, "seconds": numbers},
    schema.SinkReadyEvent: {"sink": names, "address": names},
    schema.SinkFailedEvent: {"sink": names, "error": names},
    schema.BufferExemptEvent: {"buffers": st.lists(names, max_size=3).map(tuple)},
    schema.WarningEvent: {"message": names, "spoken": st.just(True), "traceback": st.none() | names},
}
SIGNAL_EVENTS = st.builds(
    lambda signal, details, stamp: schema.SignalEvent(signal=signal, **details, **stamp),
    signals,
    details,
    st.fixed_dictionaries(stamps),
)


def refuse(constant: str) -> NoReturn:
    raise AssertionError(f"{constant} is not strict JSON")


def same(left: object, right: object) -> bool:
    """Equality that keeps NaN equal to itself and tells 1 from 1.0 and True."""
    if type(left) is not type(right):
        return False
    if isinstance(left, float) and isinstance(right, float):
        return left == right or (math.isnan(left) and math.isnan(right))
    if isinstance(left, BaseModel) and isinstance(right, BaseModel):
        return same(dict(left), dict(right)) and same(left.model_extra, right.model_extra)
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if isinstance(left, tuple) and isinstance(right, tuple):
        return len(left) == len(right) and all(map(same, left, right))
    return left == right


def test_there_is_a_model_for_each_name_and_a_strategy_for_each_model():
    assert {model.model_fields["event"].default for model in MODELS} == NAMES
    assert set(FIELDS) | {schema.SignalEvent} == set(MODELS)
    for model, fields in FIELDS.items():
        assert set(fields) == set(model.model_fields) - {"schema_version", "event", *stamps}, model


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
@given(data=st.data())
@settings(max_examples=40)
def test_each_event_comes_back_from_its_line_as_it_was(model: type[EventBase], data: st.DataObject):
    if model is schema.SignalEvent:
        event: EventBase = data.draw(SIGNAL_EVENTS)
    else:
        # A model is built on its first use; until then hypothesis sees the signature of its base class.
        model.model_rebuild()
        event = data.draw(st.builds(model, **stamps, **FIELDS[model]))

    line = event.model_dump_json(by_alias=True)
    back = parse_event(line)

    assert "\n" not in line
    json.loads(line, parse_constant=refuse)
    assert type(back) is model
    assert same(back, event)
    assert back.model_dump_json(by_alias=True) == line


def test_a_line_starts_with_the_fields_that_every_line_has():
    event = schema.StepEvent(
        time=datetime(2026, 3, 1, 12, tzinfo=timezone(timedelta(hours=2))),
        run_id="r1",
        rank=0,
        step=20,
        update=21,
        loss=math.nan,
        grad_norm=math.inf,
        lr=-math.inf,
        lr_scale=0.5,
        step_seconds=0.25,
    )

    assert list(json.loads(event.model_dump_json(by_alias=True)).items())[:12] == [
        ("schema", 1),
        ("time", "2026-03-01T10:00:00.000000Z"),
        ("event", "step"),
        ("run_id", "r1"),
        ("rank", 0),
        ("step", 20),
        ("update", 21),
        ("loss", "nan"),
        ("grad_norm", "inf"),
        ("lr", "-inf"),
        ("lr_scale", 0.5),
        ("step_seconds", 0.25),
    ]


STAMP = '"schema":1,"time":"2026-01-01T00:00:00Z","run_id":"r","rank":0,"step":null,"update":null'


def test_a_reader_keeps_fields_and_events_that_it_does_not_know():
    line = f'{{{STAMP},"event":"warning","message":"hot","fan":{{"rpm":3}}}}'
    assert parse_event(line).model_extra == {"fan": {"rpm": 3}}

    other = parse_event(f'{{{STAMP},"event":"node_drained","host":"a"}}')
    assert isinstance(other, OtherEvent)
    assert (other.event, other.model_extra) == ("node_drained", {"host": "a"})


@pytest.mark.parametrize(
    "line",
    [
        "",
        "[]",
        "nonsense",
        '{"event":"warning","message":"x"}',
        f'{{{STAMP},"message":"x"}}',
        f'{{{STAMP},"event":"warning"}}',
        f'{{{STAMP.replace("1,", "2,", 1)},"event":"warning","message":"x"}}',
        f'{{{STAMP.replace("00Z", "00")},"event":"warning","message":"x"}}',
        f'{{{STAMP},"event":"signal","signal":"bad_vibes"}}',
        f'{{{STAMP},"event":"node_drained"',
    ],
)
def test_what_is_not_an_event_is_refused(line: str):
    with pytest.raises(ValueError, match=r"validation error|without schema, time, run_id"):
        parse_event(line)


def test_a_name_that_no_event_has_is_answered_with_what_to_write():
    assert schema.no_such_event("decision") is None
    assert schema.no_such_event("odd_update") == "it is a signal: write --event signal"
    assert "decision" in str(schema.no_such_event("foo"))
