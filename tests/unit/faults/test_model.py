"""Each kind of fault by itself: its keys, its bounds, and what is expected to be found of it."""

from __future__ import annotations

from typing import Any, get_args

import pytest
from pydantic import ValidationError

from supervisor.faults.model import AnyFault, BitFlip, Expected, FaultScript, LrSpike, NanBatch, NanSample
from supervisor.records import CauseKind, SignalName

KINDS = get_args(AnyFault)
OTHER_FINDINGS = {"worker_stalled", "worker_exited", "checkpoint_rejected"}


def fault(kind: type[Any], **changes: Any) -> Any:
    time = {"rows": (1,)} if kind is NanSample else {"at_batch": 5}
    return kind(**{**time, **changes})


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_expected_of_a_fault_can_be_found(kind: type[Expected]) -> None:
    signals = {signal for signal in kind.expected_signals if not signal.startswith("warning: ")}
    assert kind.expected_signals
    assert signals <= {*(each.value for each in SignalName), *OTHER_FINDINGS}
    assert set(kind.expected_causes) <= {each.value for each in CauseKind}


@pytest.mark.parametrize("kind", KINDS)
def test_a_script_reads_each_kind_by_its_name(kind: type[Any]) -> None:
    made = fault(kind)
    written = {**made.model_dump(exclude_unset=True), "kind": made.kind}
    (read,) = FaultScript.model_validate({"faults": [written]}).faults
    assert read == made
    assert type(read) is kind


@pytest.mark.parametrize("kind", KINDS)
def test_unknown_keys_are_refused(kind: type[Any]) -> None:
    with pytest.raises(ValidationError, match="xyzzy"):
        fault(kind, xyzzy=1)


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        (NanBatch, {"samples": 0}),
        (NanBatch, {"at_batch": -1}),
        (NanBatch, {"at_batch": True}),
        (NanSample, {"rows": ()}),
        (NanSample, {"rows": (-1,)}),
        (BitFlip, {"bit": 64}),
        (BitFlip, {"parameter": ""}),
        (LrSpike, {"factor": 0.0}),
        (LrSpike, {"factor": float("inf")}),
    ],
)
def test_values_out_of_bounds_are_refused(kind: type[Any], changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        fault(kind, **changes)
