"""What a run went through, read from its log once."""

from __future__ import annotations

from support.logs import Log, at, record

from supervisor.events import schema
from supervisor.rehearsal.history import RESTART, History


def step(log: Log, seconds: float, number: int, loss: float) -> None:
    numbers = {"grad_norm": 1.0, "lr": 0.1, "lr_scale": 1.0, "step_seconds": 0.1}
    log.add(seconds, schema.StepEvent, step=number, update=number, loss=loss, **numbers)


class TestFlagged:
    def test_an_update_has_what_was_found_decided_and_done_about_it(self) -> None:
        log = Log()
        log.flags(10, 45, "nonfinite_loss", incident=1, restored_step=40, cause="bad_input")
        (flagged,) = History(log.events).flagged
        assert (flagged.life, flagged.step, flagged.update, flagged.at) == (1, 45, 45, 10.0)
        assert (flagged.signals, flagged.cause) == ({"nonfinite_loss"}, "bad_input")
        assert (flagged.restored_step, flagged.answered_at) == (40, 12.0)
        assert flagged.steps_lost == 1 + 5
        # The diagnosis, and from the finding until the last action had done its work.
        assert flagged.seconds_answering == 0.25 + 2.0

    def test_a_flagged_step_that_is_gone_back_over_counts_once(self) -> None:
        log = Log()
        log.flags(10, 43, "nonfinite_loss", incident=1)
        log.flags(20, 45, "nonfinite_loss", incident=1, opens=False, restored_step=40)
        assert [each.steps_lost for each in History(log.events).flagged] == [1, 1 + 4]

    def test_one_that_was_only_observed_belongs_to_no_incident(self) -> None:
        log = Log()
        log.flags(10, 45, "sanitized_values")
        (flagged,) = History(log.events).flagged
        assert (flagged.incident, flagged.steps_lost, flagged.seconds_answering) == (None, 1, 0.0)

    def test_the_same_update_in_another_life_is_another(self) -> None:
        log = Log()
        log.flags(10, 45, "nonfinite_loss", incident=1)
        log.resumes(20, 40)
        log.flags(30, 45, "loss_spike", incident=2)
        assert [(each.life, each.signals) for each in History(log.events).flagged] == [
            (1, {"nonfinite_loss"}),
            (2, {"loss_spike"}),
        ]

    def test_the_updates_of_an_incident_share_it_and_what_cured_it(self) -> None:
        log = Log()
        log.flags(10, 45, "nonfinite_loss", incident=1)
        log.flags(13, 46, "nonfinite_loss", incident=1, opens=False)
        log.closes(20, 60, 1)
        one, other = History(log.events).flagged
        assert one.incident is other.incident is not None
        assert one.incident.cured_by == "skip_batch"


class TestCures:
    def test_a_halt_ends_its_incident(self) -> None:
        log = Log()
        log.add(10, schema.SignalEvent, step=5, update=5, signal="nonfinite_loss")
        log.add(10, schema.DecisionEvent, step=5, update=5, incident=1, rung=4, action="halt", attempt=1, reason="x")
        (flagged,) = History(log.events).flagged
        assert flagged.incident is not None
        assert flagged.incident.cured_by == "halt"

    def test_the_death_of_the_worker_ends_the_open_ones_alone(self) -> None:
        log = Log()
        log.flags(10, 5, "nonfinite_loss", incident=1)
        log.closes(12, 30, 1)
        log.flags(15, 45, "nonfinite_loss", incident=2)
        log.dies(20, "killed")
        cures = [each.incident.cured_by for each in History(log.events).flagged if each.incident]
        assert cures == ["skip_batch", RESTART]

    def test_an_orderly_exit_ends_none(self) -> None:
        log = Log()
        log.flags(10, 5, "nonfinite_loss", incident=1)
        log.dies(20, "interrupted")
        (flagged,) = History(log.events).flagged
        assert flagged.incident is not None
        assert flagged.incident.cured_by is None


class TestLives:
    def test_a_time_falls_into_the_life_that_had_begun(self) -> None:
        log = Log()
        log.resumes(20, 40)
        history = History(log.events)
        moments = [history.moment_of(record(0, "hang", 1, seconds)) for seconds in (-1, 0, 19, 20, 99)]
        assert moments == [(0, -1.0), (1, 0.0), (1, 19.0), (2, 20.0), (2, 99.0)]

    def test_a_strike_that_names_its_life_is_placed_by_the_monotonic_clock(self) -> None:
        log = Log(clock=lambda seconds: at(-seconds))
        log.resumes(20, 40)
        history = History(log.events)
        struck = record(0, "hang", 1, 7, life=1, monotonic=507.0)
        assert history.moment_of(struck) == (1, 7.0)
        assert history.moment_of(struck.model_copy(update={"life": 2, "monotonic": 523.0})) == (2, 23.0)

    def test_the_next_life_is_what_a_resume_began(self) -> None:
        log = Log()
        log.resumes(20, 40)
        history = History(log.events)
        after = history.resumed_after(1)
        assert after is not None
        assert (after.event, after.at) == (log.events[1], (2, 20.0))
        assert history.resumed_after(2) is None

    def test_stalls_exits_and_files_are_kept_in_order(self) -> None:
        log = Log()
        log.add(5, schema.WorkerStalledEvent, rank=None, pid=7, seconds=5.0)
        log.dies(6, "stalled")
        log.add(8, schema.CheckpointRejectedEvent, checkpoint_step=20, path="p", reason="torn")
        log.add(9, schema.CheckpointSavedEvent, checkpoint_step=40, path="q")
        log.add(9, schema.WarningEvent, message="slow step")
        history = History(log.events)
        assert [each.event.event for each in history.processes] == ["worker_stalled", "worker_exited"]
        assert [each.event.path for each in history.rejected] == ["p"]
        assert [each.event.path for each in history.saved] == ["q"]
        assert [each.event.message for each in history.warnings] == ["slow step"]


class TestWhatTheRunCameTo:
    def test_losses_of_steps_that_a_reload_went_back_over_do_not_count(self) -> None:
        log = Log()
        for number in (10, 20, 30):
            step(log, number, number, float(number))
        log.flags(31, 35, "nonfinite_parameter", incident=1, restored_step=25)
        step(log, 40, 27, 2.7)
        assert History(log.events).losses == {10: 10.0, 20: 20.0, 27: 2.7}

    def test_nor_do_those_that_were_lost_with_a_process(self) -> None:
        log = Log()
        for number in (10, 20, 30):
            step(log, number, number, float(number))
        log.resumes(50, 20)
        step(log, 60, 21, 2.1)
        assert History(log.events).losses == {10: 10.0, 21: 2.1}

    def test_its_time_is_accounted_for_and_the_evaluation_is_no_training(self) -> None:
        log = Log()
        log.ends(100, 10, useful=50.0)
        history = History(log.events)
        assert (history.account.training, history.account.seconds) == (50.0, 100.0)
        assert history.metrics == {"mrr": 0.5}
        assert history.ended is log.events[-1]

    def test_a_run_that_did_not_end_has_no_end(self) -> None:
        log = Log()
        step(log, 90, 9, 1.0)
        log.dies(95, "killed")
        assert History(log.events).ended is None
