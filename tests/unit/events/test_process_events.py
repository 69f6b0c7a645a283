"""Events in the life of a worker process."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from supervisor.errors import ExitCode
from supervisor.events.process_events import (
    ORDERLY_EXITS,
    ExitClassification,
    WorkerExitedEvent,
    WorkerStartedEvent,
)


def test_an_exit_that_the_run_chose_is_orderly_and_no_other():
    assert {str(kind) for kind in ORDERLY_EXITS} == {"finished", "halted", "interrupted", "unsaved"}
    assert {kind.upper() for kind in ORDERLY_EXITS} <= set(ExitCode.__members__)


def test_a_worker_has_a_process_id_and_ended_by_a_code_or_a_signal():
    with pytest.raises(ValidationError, match="pid"):
        WorkerStartedEvent(pid=0)
    killed = WorkerExitedEvent.model_validate(
        {"pid": 7, "exit_code": None, "signal": "SIGKILL", "classification": "killed"}
    )
    assert killed.classification is ExitClassification.KILLED
