"""From a run directory to the two policies side by side; the runs here are written by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from supervisor.errors import InputError
from supervisor.events import schema
from supervisor.events.writer import EventLog
from supervisor.records import ActionName, SignalName
from supervisor.replay.run import replay_run
from supervisor.testing.clock import FakeClock

POLICY: dict[str, Any] = {"ladder": [{"action": "skip_batch", "attempts": 3}, {"action": "halt"}], "reactions": {}}


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    """A run of 20 updates with one that was skipped."""
    log = EventLog(tmp_path / "run" / "events" / "rank0.jsonl", "r", 0, FakeClock())
    at = {"step": 5, "update": 5}
    reason = "nonfinite_loss opens incident 1; attempt 1 of 3"
    for event in (
        schema.RunStartedEvent(),
        schema.SignalEvent(**at, signal=SignalName.NONFINITE_LOSS),
        schema.DecisionEvent(**at, incident=1, rung=0, action=ActionName.SKIP_BATCH, attempt=1, reason=reason),
        schema.WarningEvent(step=19, update=19, message="slow step"),
    ):
        log.emit(event)
    log.close()
    (tmp_path / "run" / "policy.yaml").write_text(yaml.safe_dump(POLICY), encoding="utf-8")
    return tmp_path / "run"


def other(run_dir: Path, **changes: Any) -> str:
    path = run_dir.parent / "other.yaml"
    path.write_text(yaml.safe_dump({**POLICY, **changes}), encoding="utf-8")
    return str(path)


def test_the_same_policy_decides_the_same(run_dir: Path) -> None:
    replayed = replay_run(str(run_dir), other(run_dir))
    assert replayed.updates == 20
    assert [each.same for each in replayed.comparisons] == [True]


def test_another_ladder_decides_something_else(run_dir: Path) -> None:
    replayed = replay_run(str(run_dir), other(run_dir, ladder=[{"action": "halt"}]))
    assert (replayed.halted_at, replayed.parting) == (5, replayed.comparisons[0])


def test_how_often_the_state_is_checked_is_no_other_detection(run_dir: Path) -> None:
    assert replay_run(str(run_dir), other(run_dir, detect={"state_every_steps": 3})).parting is None


def test_another_detection_needs_the_observations(run_dir: Path) -> None:
    path = other(run_dir, detect={"spike": None})
    with pytest.raises(InputError, match=r"other\.yaml: detect: differs .* `observations: true`"):
        replay_run(str(run_dir), path)


def test_a_run_without_its_policy_cannot_be_decided_again(run_dir: Path) -> None:
    (run_dir / "policy.yaml").unlink()
    with pytest.raises(InputError, match=r"policy\.yaml: missing"):
        replay_run(str(run_dir), other(run_dir))
