"""Which finding belongs to which fault, and what each fault cost, from logs written by hand."""

from __future__ import annotations

from typing import Any

import pytest
from support.logs import Log, record, script

from supervisor.events import schema
from supervisor.faults import FaultRecord
from supervisor.rehearsal.attribution import Strike, attribute
from supervisor.rehearsal.history import Flagged, History


def attributed(log: Log, *struck: tuple[dict[str, Any], FaultRecord]) -> tuple[list[Strike], list[Flagged]]:
    return attribute(script(*(fault for fault, _ in struck)), [each for _, each in struck], History(log.events))


def fault(number: int, kind: str, step: int, seconds: float, **fields: Any) -> tuple[dict[str, Any], FaultRecord]:
    return {"kind": kind, "at_batch": step, **fields}, record(number, kind, step, seconds)


def test_a_finding_at_the_very_update_is_the_faults() -> None:
    log = Log()
    log.flags(10, 45, "nonfinite_gradient", incident=1, cause="not_reproducible")
    log.closes(20, 66, 1)
    (strike,), unexplained = attributed(log, fault(0, "nan_gradient", 45, 9))
    assert (strike.found, strike.found_at, strike.delay_steps) == ("nonfinite_gradient", 10.0, 0)
    assert (strike.cured_by, strike.cause, strike.at.life) == ("skip_batch", "not_reproducible", 1)
    assert (strike.steps_lost, strike.seconds_beside) == (1, 2.25)
    assert unexplained == []


@pytest.mark.parametrize(
    ("kind", "found"),
    [("nan_weight", "nonfinite_parameter"), ("nan_gradient", None)],
    ids=["a lasting fault", "a fault of one step"],
)
def test_only_what_lasts_is_found_later(kind: str, found: str | None) -> None:
    log = Log()
    signal = "nonfinite_parameter" if kind == "nan_weight" else "nonfinite_gradient"
    log.flags(10, 50, signal, incident=1)
    (strike,), unexplained = attributed(log, fault(0, kind, 45, 5))
    assert strike.found == found
    assert strike.delay_steps == (None if found is None else 5)
    assert len(unexplained) == (found is None)


def test_a_finding_that_another_fault_explains_is_not_the_lasting_ones() -> None:
    log = Log()
    log.flags(10, 50, "nonfinite_optimizer_state", incident=1)
    log.flags(20, 60, "nonfinite_optimizer_state", incident=2)
    strikes, _ = attributed(log, fault(0, "nan_optimizer_state", 45, 5), fault(1, "nan_optimizer_state", 50, 9))
    assert [strike.delay_steps for strike in strikes] == [15, 0]


def test_a_finding_that_was_only_observed_is_no_detection() -> None:
    log = Log()
    log.flags(10, 45, "nonfinite_gradient")
    (strike,), unexplained = attributed(log, fault(0, "nan_gradient", 45, 9))
    assert (strike.found, unexplained) == (None, [])


def test_a_finding_that_the_fault_is_not_expected_to_show_is_not_its_own() -> None:
    log = Log()
    log.flags(10, 45, "loss_spike", incident=1)
    (strike,), unexplained = attributed(log, fault(0, "nan_gradient", 45, 9))
    assert strike.found is None
    assert [flagged.update for flagged in unexplained] == [45]


def test_consequences_go_to_the_last_fault_of_their_incident_and_are_counted_once() -> None:
    log = Log()
    log.flags(10, 45, "nonfinite_gradient", incident=1)
    log.flags(20, 46, "nonfinite_gradient", incident=1, opens=False)
    log.flags(30, 47, "nonfinite_loss", incident=1, opens=False, restored_step=40)
    strikes, unexplained = attributed(log, fault(0, "nan_gradient", 45, 9), fault(1, "nan_gradient", 46, 19))
    assert [[flagged.update for flagged in strike.flagged] for strike in strikes] == [[45], [46, 47]]
    assert [strike.steps_lost for strike in strikes] == [1, 1 + 6]
    assert unexplained == []


def test_what_came_before_the_strike_is_no_consequence_of_it() -> None:
    log = Log()
    log.flags(10, 44, "nonfinite_loss", incident=1)
    log.flags(13, 45, "nonfinite_gradient", incident=1, opens=False)
    (strike,), unexplained = attributed(log, fault(0, "nan_gradient", 45, 12.5))
    assert [flagged.update for flagged in strike.flagged] == [45]
    assert [flagged.update for flagged in unexplained] == [44]


class TestOutsideTheStep:
    def test_a_death_costs_the_way_back_and_the_time_until_the_next_life(self) -> None:
        log = Log()
        log.dies(12, "killed")
        log.resumes(15, 40)
        (strike,), _ = attributed(log, fault(0, "kill_worker", 45, 10))
        assert (strike.found, strike.found_at, strike.cured_by) == ("worker_exited", 12.0, "restart")
        assert (strike.steps_lost, strike.seconds_beside) == (5, 5.0)

    def test_a_death_that_nothing_followed_cost_nothing_that_is_known(self) -> None:
        log = Log()
        log.dies(12, "killed")
        (strike,), _ = attributed(log, fault(0, "kill_worker", 45, 10))
        assert (strike.found, strike.cured_by, strike.steps_lost) == ("worker_exited", None, 0)

    def test_a_run_begun_afresh_after_a_death_lost_all_its_steps(self) -> None:
        log = Log()
        log.dies(12, "killed")
        log.add(15, schema.RunStartedEvent)
        (strike,), _ = attributed(log, fault(0, "kill_worker", 45, 10))
        assert strike.steps_lost == 45

    def test_a_full_disk_shows_in_a_warning_and_ends_with_the_next_write(self) -> None:
        log = Log()
        log.add(12, schema.WarningEvent, message="checkpoint: step 40 could not be written")
        log.add(30, schema.CheckpointSavedEvent, checkpoint_step=60, path="p")
        (strike,), _ = attributed(log, fault(0, "disk_full", 35, 10))
        assert (strike.found, strike.found_at, strike.cured_by) == ("warning: checkpoint", 12.0, "next write")

    def test_a_slow_step_costs_the_time_until_its_warning(self) -> None:
        log = Log()
        log.add(12.5, schema.WarningEvent, step=45, update=45, message="slow step: 2.5 s")
        log.add(20, schema.WarningEvent, step=50, update=50, message="slow step: 2.5 s")
        (strike,), _ = attributed(log, fault(0, "slow_step", 45, 10))
        assert (strike.found, strike.delay_steps, strike.cured_by) == ("warning: slow step", 0, "waiting")
        assert strike.seconds_beside == 2.5

    @pytest.mark.parametrize("kind", ["disk_full", "slow_step"])
    def test_a_warning_of_another_life_is_not_of_this_one(self, kind: str) -> None:
        log = Log()
        log.resumes(11, 40)
        for message in ("slow step: 2 s", "checkpoint: step 40 could not be written"):
            log.add(12, schema.WarningEvent, step=45, update=45, message=message)
        (strike,), _ = attributed(log, fault(0, kind, 45, 10))
        assert strike.found is None

    def test_a_damaged_checkpoint_is_found_when_it_is_read_and_shares_the_way_back(self) -> None:
        log = Log()
        log.dies(12, "killed")
        log.add(13, schema.CheckpointRejectedEvent, checkpoint_step=40, path="checkpoints/x", reason="torn")
        log.resumes(15, 20)
        damage = {"kind": "corrupt_checkpoint", "at_batch": 43}, record(0, "corrupt_checkpoint", 43, 8, "checkpoints/x")
        strikes, _ = attributed(log, damage, fault(1, "kill_worker", 45, 10))
        assert [(each.found, each.cured_by, each.steps_lost) for each in strikes] == [
            ("checkpoint_rejected", "older checkpoint", 20),
            ("worker_exited", "restart", 5),
        ]
