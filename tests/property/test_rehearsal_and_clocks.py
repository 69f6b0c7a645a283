"""The score of a rehearsal does not hang on the time of day: the clock of the machine may be set while it runs."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st
from support.logs import Log, at, record, script

from supervisor.events import schema
from supervisor.faults import FaultRecord
from supervisor.rehearsal import Score, score

KINDS = ("nan_gradient", "slow_step", "corrupt_checkpoint", "disk_full", "kill_worker", "nan_weight", "hang")
JUMPS = st.lists(st.tuples(st.integers(0, 90), st.integers(-100_000, 100_000)), max_size=6)


def jumping(jumps: list[tuple[int, int]]) -> Callable[[float], datetime]:
    """A clock that is set at these seconds of the run, by so many."""
    return lambda seconds: at(seconds) + timedelta(seconds=sum(by for when, by in jumps if when <= seconds))


def scored(clock: Callable[[float], datetime]) -> Score:
    log = Log(clock)
    log.flags(10, 20, "nonfinite_gradient", incident=1, cause="not_reproducible")
    log.flags(13, 21, "nonfinite_loss", incident=1, opens=False)
    log.closes(16, 40, 1)
    log.add(19.5, schema.WarningEvent, step=50, update=50, message="slow step: 2.5 s")
    log.add(25, schema.WarningEvent, message="checkpoint: step 60 could not be written")
    log.add(28, schema.CheckpointSavedEvent, checkpoint_step=70, path="checkpoints/y")
    log.dies(32, "killed")
    log.add(33, schema.CheckpointRejectedEvent, checkpoint_step=70, path="checkpoints/x", reason="torn")
    log.resumes(35, 60)
    log.flags(42, 70, "nonfinite_parameter", incident=2, restored_step=65)
    log.add(50, schema.WorkerStalledEvent, rank=None, pid=7, seconds=5.0)
    log.dies(51, "stalled")
    log.resumes(55, 65)
    log.ends(80, 100, 40.0)

    def struck(number: int, step: int, seconds: float, life: int, target: str | None = None) -> FaultRecord:
        stamp = {"time": clock(seconds), "life": life, "monotonic": 500 + seconds}
        return record(number, KINDS[number], step, seconds, target, **stamp)

    records = [
        struck(0, 20, 9.5, 1),
        struck(1, 50, 17, 1),
        struck(2, 52, 21, 1, "checkpoints/x"),
        struck(3, 60, 24, 1),
        struck(4, 72, 31, 1),
        struck(5, 66, 41, 2),
        struck(6, 71, 45, 2),
    ]
    return score(script(*({"kind": kind, "at_batch": 9} for kind in KINDS)), records, log.events)


def test_with_a_clock_that_goes_each_fault_is_found_and_costs_what_it_did() -> None:
    found = scored(at)
    assert [each.detected is not None for each in found.each] == [True] * 7
    assert [each.delay_seconds for each in found.each] == [0.5, 2.5, 12.0, 1.0, 1.0, 1.0, 5.0]
    assert [each.cured_by for each in found.each] == [
        "skip_batch",
        "waiting",
        "older checkpoint",
        "next write",
        "restart",
        "restart",
        "restart",
    ]
    assert (found.unexplained, found.each[4].steps_lost, found.each[6].steps_lost) == (0, 2, 6)


@given(JUMPS)
def test_a_clock_that_is_set_changes_nothing(jumps: list[tuple[int, int]]) -> None:
    assert scored(jumping(jumps)) == scored(at)
