"""That a run ends with its state on disk, verified, or says what is lost."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.parts import files_no_larger_than
from support.state_run import Run

from supervisor.saved import newest_verified
from supervisor.states.last_state import LastState
from supervisor.testing.clock import FakeClock


def test_what_is_on_disk_is_read_again(tmp_path: Path) -> None:
    """Even where it was written long before, and torn since: it is written anew."""
    run = Run(tmp_path)
    run.step(3)
    assert run.on_disk() == [(3, False)]
    (info,) = run.store.committed() if run.store is not None else ()
    (info.path / "state.pt").write_bytes(b"torn")
    assert LastState(run.taker, run.clock, tmp_path / "checkpoints").secure() is None
    assert newest_verified(tmp_path / "checkpoints") is not None
    assert len(run.heard.named("checkpoint_rejected")) == 1


def test_a_write_that_failed_beside_the_training_is_noticed(tmp_path: Path) -> None:
    run = Run(tmp_path, checkpoint={"every_steps": 1, "last_save_seconds": 0})
    with files_no_larger_than(1 << 10):
        run.step(1)
        assert LastState(run.taker, run.clock, tmp_path / "checkpoints").secure() == (
            "the state of step 1 could not be written, and there is no checkpoint to go on from: all of it is lost"
        )
    assert LastState(run.taker, run.clock, tmp_path / "checkpoints").secure() is None
    assert run.on_disk() == [(1, False)]


@pytest.mark.parametrize(("stall", "tried_for"), [(300.0, 20.0), (8.0, 4.0)])
def test_it_is_tried_again_for_as_long_as_the_policy_says(tmp_path: Path, stall: float, tried_for: float) -> None:
    restart = {"stall_timeout_seconds": stall}
    run = Run(tmp_path, checkpoint={"every_steps": 2, "last_save_seconds": 20.0}, restart=restart)
    run.step(5)
    began = run.clock.monotonic()
    with files_no_larger_than(1 << 10):
        lost = LastState(run.taker, run.clock, tmp_path / "checkpoints").secure()
    assert lost is not None
    goes_on = "--resume goes on from checkpoints/step-00000004, and what came after it is lost"
    assert lost == f"the state of step 5 could not be written: {goes_on}"
    assert run.clock.monotonic() - began == pytest.approx(tried_for)


def test_without_a_disk_nothing_is_lost() -> None:
    assert LastState(Run().taker, FakeClock()).secure() is None


def test_one_that_is_not_finite_is_not_waited_for(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.step(4)
    run.poison()
    began = run.clock.monotonic()
    lost = LastState(run.taker, run.clock, tmp_path / "checkpoints").secure()
    assert lost is not None
    assert "goes on from checkpoints/step-00000003" in lost
    assert run.clock.monotonic() == began
