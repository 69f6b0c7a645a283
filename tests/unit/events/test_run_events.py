"""Events in the life of a run, and the summary it ends with."""

from __future__ import annotations

import json
import math

import pytest
from pydantic import ValidationError

from supervisor.events.run_events import (
    CheckpointPromotedEvent,
    CheckpointRejectedEvent,
    CheckpointSavedEvent,
    MetricsEvent,
    RunFinishedEvent,
    RunHaltedEvent,
    RunStartedEvent,
    RunStatus,
    RunSummary,
    StepEvent,
)
from supervisor.records import ActionName, SignalName

SUMMARY = RunSummary(
    status=RunStatus.FINISHED,
    steps=20,
    applied_steps=19,
    incidents_by_signal={SignalName.NONFINITE_LOSS: 1},
    cured_by={ActionName.SKIP_BATCH: 1},
    final_loss=math.nan,
)


def test_a_summary_is_strict_json_that_reads_back():
    text = SUMMARY.model_dump_json()
    plain = json.loads(text)

    assert (plain["final_loss"], plain["incidents_by_signal"], plain["cured_by"]) == (
        "nan",
        {"nonfinite_loss": 1},
        {"skip_batch": 1},
    )
    assert RunSummary.model_validate_json(text).model_dump_json() == text


def test_only_a_run_in_good_order_finishes():
    assert RunFinishedEvent(status=RunStatus.INTERRUPTED, summary=SUMMARY).event == "run_finished"
    with pytest.raises(ValidationError, match="status"):
        RunFinishedEvent.model_validate({"status": "halted", "summary": SUMMARY})
    assert RunHaltedEvent(reason="nothing is left").summary is None


def test_a_start_has_no_place_so_that_no_resume_makes_it_void():
    started = RunStartedEvent(steps=20, seed=3)
    assert (started.step, started.update, started.accumulate) == (None, None, 1)


def test_what_a_step_and_an_evaluation_measured_may_be_anything_but_a_text():
    with pytest.raises(ValidationError, match="loss"):
        StepEvent.model_validate({"loss": "low", "grad_norm": 1, "lr": 1, "lr_scale": 1, "step_seconds": 1})
    assert json.loads(MetricsEvent(metrics={"mrr": math.inf}).model_dump_json())["metrics"] == {"mrr": "inf"}


@pytest.mark.parametrize("event", [CheckpointSavedEvent, CheckpointPromotedEvent])
def test_a_checkpoint_is_rejected_for_a_reason_and_kept_without_one(event: type[CheckpointSavedEvent]):
    assert event(checkpoint_step=20, path="checkpoints/step-00000020").reason is None
    with pytest.raises(ValidationError, match="reason"):
        CheckpointRejectedEvent.model_validate({"checkpoint_step": 20, "path": "checkpoints/step-00000020"})
