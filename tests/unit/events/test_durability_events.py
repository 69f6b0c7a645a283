"""Events of checkpoints and worker processes."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from supervisor.errors import ExitCode
from supervisor.events.durability_events import (
    ORDERLY_EXITS,
    CheckpointPromotedEvent,
    CheckpointRejectedEvent,
    CheckpointSavedEvent,
    ExitClassification,
    WorkerExitedEvent,
    WorkerStartedEvent,
)


def test_an_exit_that_the_run_chose_is_orderly_and_no_other():
    assert {str(kind) for kind in ORDERLY_EXITS} == {"finished", "halted", "interrupted"}
    assert {kind.upper() for kind in ORDERLY_EXITS} <= set(ExitCode.__members__)


@pytest.mark.parametrize("event", [CheckpointSavedEvent, CheckpointPromotedEvent])
def test_a_checkpoint_is_rejected_for_a_reason_and_kept_without_one(event: type[CheckpointSavedEvent]):
    assert event(checkpoint_step=20, path="checkpoints/step-00000020").reason is None
    with pytest.raises(ValidationError, match="reason"):
        CheckpointRejectedEvent.model_validate({"checkpoint_step": 20, "path": "checkpoints/step-00000020"})


def test_a_worker_has_a_process_id_and_ended_by_a_code_or_a_signal():
    with pytest.raises(ValidationError, match="pid"):
        WorkerStartedEvent(pid=0)
    killed = WorkerExitedEvent.model_validate(
        {"pid": 7, "exit_code": None, "signal": "SIGKILL", "classification": "killed"}
    )
    assert killed.classification is ExitClassification.KILLED
