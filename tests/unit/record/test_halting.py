"""Why a run was halted."""

from __future__ import annotations

from typing import Any

import pytest

from supervisor.record.halting import why_halted
from supervisor.records import ActionName, Cause, CauseKind, Decision, Incident, SignalName

FAILED = "try_cures failed (none helps); passed over: reload_checkpoint (spent)"


def incident(reason: str, **cause: Any) -> Incident:
    causes = (Cause(CauseKind.LOSS_FUNCTION, "the loss is not finite", 3, 3, **cause),) if cause else ()
    decision = Decision(1, 5, ActionName.HALT, 1, reason)
    return Incident(1, 3, 3, signals=(SignalName.NONFINITE_LOSS,), decisions=(decision,), causes=causes)


@pytest.mark.parametrize(
    ("reason", "cause", "said"),
    [
        ("nonfinite_loss opens incident 1", {}, "nonfinite_loss opens incident 1"),
        (FAILED, {}, f"nonfinite_loss; {FAILED}"),
        (FAILED, {"module": "0"}, f"nonfinite_loss: the loss is not finite; {FAILED}"),
        ("nonfinite_loss opens incident 1", {"module": "0"}, "nonfinite_loss: the loss is not finite"),
        (
            "nonfinite_loss in incident 1, at rung 5; passed over: x (y)",
            {"detail": "all 16 targets are the ignored -100", "operation": "cross_entropy", "where": "loss.py:4"},
            "nonfinite_loss: all 16 targets are the ignored -100, in cross_entropy at loss.py:4; "
            "at rung 5; passed over: x (y)",
        ),
    ],
)
def test_what_was_found_comes_first(reason: str, cause: dict[str, Any], said: str) -> None:
    assert why_halted(incident(reason, **cause)) == said


def test_where_nothing_was_decided_nothing_is_known() -> None:
    assert why_halted(Incident(1, 3, 3)) is None
