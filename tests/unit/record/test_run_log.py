"""What a run says of itself."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from support.parts import NAN_LOSS, attempt_of, log_to, policy_of
from torch import nn
from torch.optim import SGD

from supervisor.events.observation_file import ObservationFile, read_observations
from supervisor.events.schema import RunStatus
from supervisor.record.counters import Progress
from supervisor.record.run_ledger import RunLedger
from supervisor.record.run_log import RunLog, Standing
from supervisor.records import Observation
from supervisor.testing.clock import FakeClock
from supervisor.testing.events import EventList
from supervisor.version import __version__

OPTIMIZER = SGD(nn.Linear(1, 1).parameters(), lr=0.25)


class Run:
    def __init__(self, *, every: int = 1, folder: Path | None = None, **policy: Any) -> None:
        self.heard, self.shown, self.clock = EventList(), [], FakeClock()
        self.shown: list[Progress] = []
        self.ledger = RunLedger(policy_of(**policy), self.clock)
        observations = None if folder is None else ObservationFile(folder / "observations.jsonl")
        self.log = RunLog(
            log_to(self.heard),
            self.ledger,
            log_every_steps=every,
            on_progress=self.shown.append,
            observations=observations,
        )

    def step(self, seconds: float = 0.5, loss: float = 2.0) -> None:
        started, place = self.ledger.now(), self.ledger.begin(self.ledger.counters.update + 1)
        seen = Observation(place.step, place.update, loss, 3.0)
        self.clock.advance(seconds)
        self.ledger.applied(seen)
        self.log.step(seen, OPTIMIZER, self.ledger.spent_since(started))

    def flag(self) -> Observation:
        place = self.ledger.begin(self.ledger.counters.update + 1)
        attempt = attempt_of(place.step, place.update, loss=math.nan)
        self.ledger.flagged()
        self.ledger.decide(attempt, NAN_LOSS, {}, cause=None, can_retry=False)
        self.ledger.used_up()
        self.log.step(attempt.seen, OPTIMIZER, None)
        return attempt.seen


def test_the_start_is_on_record_with_what_is_exempt() -> None:
    run = Run()
    run.log.started(9, {"seed": 3, "accumulate": 2}, ("mask",))
    start, exempt = run.heard
    assert (start.event, start.steps, start.seed, start.accumulate) == ("run_started", 9, 3, 2)
    assert (start.version, start.step, start.update) == (__version__, None, None)
    assert (exempt.event, exempt.buffers) == ("buffer_exempt", ("mask",))
    run = Run()
    run.log.started(None, {}, ())
    assert [event.event for event in run.heard] == ["run_started"]


def test_one_step_in_so_many_is_on_record_and_every_one_is_shown() -> None:
    run = Run(every=3)
    for _ in range(7):
        run.step()
    steps = run.heard.named("step")
    assert [(event.step, event.update) for event in steps] == [(2, 2), (5, 5)]
    event = steps[0]
    assert (event.loss, event.grad_norm, event.lr, event.lr_scale, event.step_seconds) == (2.0, 3.0, 0.25, 1.0, 0.5)
    assert (event.rung, event.incidents) == (None, 0)
    assert [progress.step for progress in run.shown] == list(range(7))


def test_a_discarded_step_is_shown_and_not_on_record() -> None:
    run = Run(ladder=[{"action": "lower_lr", "factor": 0.5, "attempts": 3}])
    run.flag()
    assert not run.heard.named("step")
    (progress,) = run.shown
    assert (progress.step, progress.lr_scale, progress.rung, progress.incidents) == (0, 0.5, 0, 1)
    assert math.isnan(progress.loss)
    run.step()
    assert (run.heard[0].rung, run.heard[0].incidents, run.heard[0].lr_scale, run.heard[0].lr) == (0, 1, 0.5, 0.25)


def test_the_goodput_shown_is_that_of_the_account_which_is_read_where_something_happened() -> None:
    run, asked = Run(every=100), []

    def goodput(now: float, applied_seconds: float, *, anew: bool) -> float:
        asked.append((applied_seconds, anew))
        return 0.25

    run.log.goodput = goodput
    run.step()
    run.step()
    run.flag()
    run.flag()
    run.step()
    run.step()
    assert {progress.goodput for progress in run.shown} == {0.25}
    assert asked == [(0.5, True), (1.0, False), (1.0, False), (1.0, False), (1.5, True), (2.0, False)]


def test_what_every_update_measured_is_kept_where_that_is_asked_for(tmp_path: Path) -> None:
    seen = Observation(4, 5, 1.0, 2.0)
    Run(folder=tmp_path).log.observed(seen)
    assert read_observations(tmp_path) == {5: seen}
    Run().log.observed(seen)


@pytest.mark.parametrize(
    ("usual", "last", "warned"),
    [(0.5, 5.0, False), (0.5, 5.5, True), (0.05, 0.9, False), (2.0, 19.0, False), (2.0, 21.0, True)],
)
def test_a_step_ten_times_slower_than_the_mean_and_than_a_second_is_told(
    usual: float, last: float, warned: bool
) -> None:
    run = Run(every=100)
    for _ in range(4):
        run.step(usual)
    run.step(last)
    assert [event.event for event in run.heard] == ["warning"] * warned
    if warned:
        assert run.heard[0].message == f"slow step: {last:.3g} s, where the mean is {usual:.3g} s"
        assert (run.heard[0].step, run.heard[0].update) == (4, 4)


def test_a_loss_that_stands_still_is_told_once_with_the_update() -> None:
    run = Run(every=1000)
    for _ in range(700):
        run.step(0.1, loss=0.0)
    (warning,) = run.heard
    assert warning.message.startswith("the loss has been exactly 0 for 300 updates in a row")
    assert (warning.step, warning.update, warning.spoken) == (299, 299, True)


def test_a_discarded_step_is_no_part_of_it() -> None:
    run = Run(every=1000)
    for _ in range(299):
        run.step(0.1, loss=0.0)
    run.flag()
    assert run.heard == []
    run.step(0.1, loss=0.0)
    assert [event.event for event in run.heard] == ["warning"]


def test_the_first_step_has_no_mean_to_be_slower_than() -> None:
    run = Run(every=100)
    run.step(100.0)
    assert run.heard == []


class TestEvaluation:
    def test_its_metrics_are_on_record_and_in_the_summary(self) -> None:
        run = Run(every=100)
        run.step()

        def evaluate() -> Any:
            run.clock.advance(3.0)
            return {"mrr": torch.tensor(0.5), "worst": math.nan}

        run.log.evaluate(evaluate)
        (event,) = run.heard
        assert (event.event, event.step, event.update, event.seconds) == ("metrics", 1, 0, 3.0)
        assert event.metrics["mrr"] == 0.5
        assert run.log.summary(RunStatus.FINISHED).metrics["mrr"] == 0.5

    @pytest.mark.parametrize(
        ("returned", "said"),
        [
            ({"mrr": "high"}, "evaluation: metric mrr: a str: left out; return a number"),
            (None, "evaluation: evaluate returned None: return a dictionary of names and numbers"),
            (3, "evaluation: evaluate returned an int: return a dictionary of names and numbers"),
        ],
    )
    def test_what_cannot_be_recorded_is_said_once(self, returned: Any, said: str) -> None:
        run = Run(every=100)
        run.step()
        assert run.log.evaluate(lambda: returned) is None
        assert run.log.evaluate(lambda: returned) is None
        (event,) = run.heard
        assert (event.event, event.step, event.update) == ("warning", 1, 0)
        assert (event.message, event.traceback) == (said, None)
        assert run.log.summary(RunStatus.FINISHED).metrics == {}

    def test_what_can_be_recorded_is_even_beside_what_cannot(self) -> None:
        run = Run(every=100)
        assert run.log.evaluate(lambda: {"mrr": 0.5, "rows": [1, 2]}) == {"mrr": 0.5}
        assert [event.event for event in run.heard] == ["warning", "metrics"]

    @pytest.mark.parametrize("error", [RuntimeError("no held-out data"), SystemExit(3), SystemExit()])
    def test_one_that_raises_is_a_warning_with_its_traceback_the_first_time(self, error: BaseException) -> None:
        run = Run(every=100)
        run.step()

        def evaluate() -> Any:
            raise type(error)(*error.args)

        for _ in range(2):
            assert run.log.evaluate(evaluate) is None
        first, second = run.heard
        assert (first.event, first.step, first.update) == ("warning", 1, 0)
        assert first.message.startswith(f"evaluation failed: {type(error).__name__}")
        lines = first.traceback.splitlines()
        assert lines[0].startswith("Traceback")
        assert ", in evaluate" in lines[1], "it begins where the user's code does"
        assert lines[-1].startswith(type(error).__name__)
        assert (second.message, second.traceback) == (first.message, None)
        assert run.log.summary(RunStatus.FINISHED).metrics == {}

    def test_an_interrupt_passes(self) -> None:
        def evaluate() -> Any:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            Run().log.evaluate(evaluate)


class TestTheEnd:
    def test_it_is_on_record_with_the_summary(self) -> None:
        run = Run(every=100, cooldown_steps=1)
        run.step(loss=4.0)
        run.flag()
        run.step(seconds=1.5, loss=3.0)
        run.clock.advance(2.0)
        run.log.finished(RunStatus.FINISHED)
        (event,) = run.heard
        assert (event.event, event.status, event.step, event.update) == ("run_finished", "finished", 3, 2)
        summary = event.summary
        assert summary == run.log.summary(RunStatus.FINISHED)
        assert (summary.steps, summary.applied_steps, summary.skipped_steps, summary.incidents) == (3, 2, 1, 1)
        assert (summary.incidents_by_signal, summary.cured_by) == ({"nonfinite_loss": 1}, {"skip_batch": 1})
        assert (summary.final_loss, summary.lr_scale, summary.seconds, summary.goodput) == (3.0, 1.0, 4.0, 0.5)

    def test_one_that_was_asked_for_says_so(self) -> None:
        run = Run()
        run.log.finished(RunStatus.INTERRUPTED)
        assert (run.heard[0].status, run.heard[0].summary.status) == ("interrupted", "interrupted")
        assert (run.heard[0].step, run.heard[0].update, run.heard[0].summary.goodput) == (0, None, None)

    def test_a_halt_says_why(self) -> None:
        run = Run(every=100)
        run.step()
        seen = run.flag()
        run.log.halted("no rung is left", seen)
        (event,) = run.heard
        assert (event.event, event.reason, event.step, event.update) == ("run_halted", "no rung is left", 1, 1)
        assert event.summary.status == "halted"

    def test_so_does_the_summary_of_a_run_that_has_halted(self) -> None:
        run = Run(every=100, ladder=[{"action": "halt"}])
        run.flag()
        assert run.log.summary(RunStatus.HALTED).reason == "nonfinite_loss opens incident 1"
        assert run.log.summary(RunStatus.FINISHED).reason is None

    @pytest.mark.parametrize("in_place", [True, False])
    def test_a_halt_that_did_not_go_back_says_that_the_state_is_as_it_was(self, in_place: bool) -> None:
        run = Run(every=100, ladder=[{"action": "halt"}])
        run.step()
        run.flag()
        if not in_place:
            run.ledger.stands_at(0, 0, 0.0, 0)
        run.ledger.halt(1)
        assert run.log.summary(RunStatus.HALTED).in_place is in_place

    def test_useful_time_never_exceeds_all_of_it(self) -> None:
        """A resumed run's clocks are those of two processes."""
        run = Run()
        run.step()
        run.ledger.stands_at(1, 1, 99.0, 0)
        assert run.log.summary(RunStatus.FINISHED).goodput == 1.0


def test_the_summary_names_the_samples_that_are_left_out() -> None:
    run = Run()
    run.log.standing = lambda: Standing(left_out=(4, 9))
    assert run.log.summary(RunStatus.FINISHED).quarantined == (4, 9)


def test_the_summary_counts_the_warnings() -> None:
    run = Run()
    run.log.log.warn("look here")
    assert run.log.summary(RunStatus.FINISHED).warnings == 1
