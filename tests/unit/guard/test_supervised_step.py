"""One update from its beginning to its end, with an executor that follows a script."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from support.parts import NAN_LOSS, attempt_of, policy_of
from support.recorder import Calls, Recorder

from supervisor.experiments import Experimenter
from supervisor.guard.continuation import Continuation
from supervisor.guard.discarding import Discarding
from supervisor.guard.outcome import PROCEED, StepOutcome, Verdict
from supervisor.guard.supervised_step import SupervisedStep
from supervisor.record.run_ledger import RunLedger
from supervisor.records import Observation, Signal, SignalName
from supervisor.signals import Detectors
from supervisor.states import Canaries, RestorePoints
from supervisor.states.restore_points import SpareCopies
from supervisor.testing.clock import FakeClock
from supervisor.training.data_position import DataPosition
from supervisor.training.state import Subject, VolatileState
from supervisor.update import Attempt, Executor, Phase, Raised

OUTCOME = StepOutcome(0, 1.0, 1.0, True)
DISCARDED = Verdict(apply=False, outcome=replace(OUTCOME, applied=False))
BEFORE = VolatileState({}, {}, {}, {}, ())
LOSS = torch.tensor(1.0)


class Setting:
    """A step whose executor measures, prepares and finds what it is told; detectors and ledger are real ones.

    Attributes:
        discarded: the phase of each update that was handed on to be discarded, and whether it can be undone.
    """

    def __init__(
        self,
        *,
        raises_in: str = "",
        check_due: bool = False,
        found: Any = None,
        cut: bool = False,
        after_snapshot: int = 0,
        tried: bool = False,
        suspected: bool = False,
        on_trial: bool | None = None,
        state_is_sound: bool = True,
        **measured: Any,
    ) -> None:
        self.calls = calls = Calls()
        self.discarded: list[tuple[Phase, bool]] = []
        self.ledger = RunLedger(policy_of({"action": "lower_lr", "factor": 0.5}, {"action": "halt"}), FakeClock())
        if cut:
            self.ledger.decide(attempt_of(loss=math.nan), NAN_LOSS, {}, cause=None, can_retry=False)
        self.measured = {"loss": 1.0, "grad_norm": 1.0, **measured}
        self.found = found or {}
        subject: Any = Recorder(Subject, "subject", calls)
        self.data: Any = Recorder(DataPosition, "data", calls, batch_number=4, handed=True)

        def verb(name: str) -> Any:
            def does(attempt: Attempt) -> None:
                if raises_in == name:
                    self.raise_in(attempt, RuntimeError(name))

            return does

        self.executor: Any = Recorder(
            Executor,
            "executor",
            calls,
            begin=BEFORE,
            measured=self.measure,
            prepare=verb("prepare"),
            after_update=verb("after_update"),
            check_state=self.check_state,
            raised_in=self.raise_in,
            applying=self.block,
            lr_factor=1.0,
        )
        self.experimenter: Any = Recorder(
            Experimenter,
            "experimenter",
            calls,
            tries=tried,
            suspect=suspected,
            judge_trial=on_trial,
            judge_state=state_is_sound,
        )
        parts: Any = {
            "canaries": Recorder(Canaries, "canaries", calls, memory=SimpleNamespace(last_remembered=after_snapshot)),
            "continuation": Recorder(
                Continuation,
                "continuation",
                calls,
                check_due=check_due,
                accept=OUTCOME,
                experimenter=self.experimenter,
            ),
            "discarding": Recorder(Discarding, "discarding", calls, discard=self.discard, setup=None),
        }
        points = RestorePoints(subject, self.data, self.ledger, SpareCopies())
        self.step = SupervisedStep(policy_of(), points, self.executor, Detectors(policy_of()), **parts)

    def discard(self, attempt: Attempt) -> Verdict:
        self.discarded.append((attempt.phase, attempt.undone))
        return DISCARDED

    def measure(self, attempt: Attempt, loss: Any, error: Exception | None) -> Observation:
        attempt.observation = Observation(attempt.place.step, attempt.place.update, **self.measured)
        if error is not None:
            self.raise_in(attempt, error)
        return attempt.seen

    def raise_in(self, attempt: Attempt, error: Exception) -> None:
        attempt.raised = Raised(type(error).__name__, str(error), None, None, "Traceback")
        attempt.observation = replace(attempt.seen, exception=f"{type(error).__name__}: {error}")

    def check_state(self, attempt: Attempt) -> None:
        attempt.observation = replace(attempt.seen, **self.found)

    @contextlib.contextmanager
    def block(self, scale: float) -> Iterator[None]:
        self.calls.append(f"scaled {scale:g}")
        try:
            yield
        finally:
            self.calls.append("nominal")

    def passed(self) -> Attempt:
        attempt = self.step.begin(("batch",))
        assert self.step.judge(attempt, LOSS, None) is PROCEED
        self.calls.clear()
        return attempt

    def stepped(self) -> Attempt:
        attempt = self.passed()
        with self.step.applying(attempt):
            pass
        self.calls.clear()
        return attempt


class TestBeginning:
    def test_the_state_is_copied_before_anything_else(self) -> None:
        setting = Setting()
        attempt = setting.step.begin(("one", "two"))
        assert setting.calls == ["executor.begin", "data.handed", "canaries.begin"]
        assert setting.calls.given["data.handed"] == [(("one", "two"),)]
        assert (attempt.before, attempt.batches, attempt.drawn, attempt.phase) == (
            BEFORE,
            ("one", "two"),
            True,
            Phase.BEGUN,
        )
        assert (attempt.place.step, attempt.place.update, attempt.place.replayed) == (0, 0, False)
        assert setting.ledger.counters.update == 1

    def test_only_the_first_update_after_a_snapshot_may_become_a_canary(self) -> None:
        setting = Setting(after_snapshot=5)
        setting.step.begin(("batch",))
        assert "canaries.begin" not in setting.calls

    def test_one_that_is_given_up_had_never_begun(self) -> None:
        setting = Setting()
        attempt = setting.step.begin(("one", "two"))
        setting.calls.clear()
        setting.step.give_up(attempt)
        assert setting.calls == ["executor.give_up", "data.taken_from"]
        assert setting.calls.given["data.taken_from"] == [(("one", "two"),)]
        assert (attempt.phase, setting.ledger.counters.update, setting.ledger.engine.clock) == (Phase.ENDED, 0, 0)


class TestJudging:
    def test_a_sound_one_passes_once_its_gradients_are_prepared(self) -> None:
        setting = Setting()
        attempt = setting.step.begin(("batch",))
        setting.calls.clear()
        assert setting.step.judge(attempt, LOSS, None) is PROCEED
        assert setting.calls == ["executor.measured", "experimenter.suspect", "executor.prepare"]
        assert setting.calls.given["executor.measured"] == [(attempt, LOSS, None)]
        assert attempt.phase is Phase.PASSED

    def test_a_bad_one_is_discarded_before_anything_can_change_its_gradients(self) -> None:
        setting = Setting(loss=math.nan)
        attempt = setting.step.begin(("batch",))
        setting.calls.clear()
        assert setting.step.judge(attempt, LOSS, None) is DISCARDED
        assert setting.calls == ["executor.measured", "experimenter.tries", "data.used", "discarding.discard"]
        assert [signal.name for signal in attempt.signals] == ["nonfinite_loss"]
        assert setting.discarded == [(Phase.ENDED, True)]

    def test_findings_that_are_only_observed_do_not_stop_it(self) -> None:
        setting = Setting(sanitized=3)
        attempt = setting.step.begin(("batch",))
        assert setting.step.judge(attempt, LOSS, None) is PROCEED
        assert [signal.name for signal in attempt.signals] == ["sanitized_values"]

    def test_one_that_the_experiments_leave_out_is_discarded(self) -> None:
        setting = Setting(suspected=True)
        attempt = setting.step.begin(("batch",))
        setting.calls.clear()
        assert setting.step.judge(attempt, LOSS, None) is DISCARDED
        assert setting.calls == ["executor.measured", "experimenter.suspect", "data.used", "discarding.discard"]
        assert setting.discarded == [(Phase.ENDED, True)]

    def test_one_that_the_experiments_can_try_goes_on_trial(self) -> None:
        setting = Setting(loss=math.nan, tried=True)
        attempt = setting.step.begin(("batch",))
        setting.calls.clear()
        assert setting.step.judge(attempt, LOSS, None) is PROCEED
        assert setting.calls[1:] == ["experimenter.tries", "experimenter.suspect", "executor.prepare"]

    def test_an_exception_of_the_passes_is_a_finding(self) -> None:
        setting = Setting()
        attempt = setting.step.begin(("batch",))
        assert setting.step.judge(attempt, None, RuntimeError("no")) is DISCARDED
        assert [signal.name for signal in attempt.signals] == ["step_exception"]
        assert "executor.prepare" not in setting.calls

    def test_so_is_one_of_what_prepares_the_gradients(self) -> None:
        setting = Setting(raises_in="prepare")
        attempt = setting.step.begin(("batch",))
        assert setting.step.judge(attempt, LOSS, None) is DISCARDED
        assert setting.calls[-2:] == ["data.used", "discarding.discard"]
        assert setting.discarded == [(Phase.ENDED, True)]


class TestApplying:
    @pytest.mark.parametrize(
        ("cut", "calls"),
        [
            (True, ["data.used", "executor.applying", "scaled 0.5", "step", "nominal"]),
            (False, ["data.used", "step"]),
        ],
    )
    def test_rates_are_scaled_inside_where_a_cut_is_in_force_and_nominal_after(
        self, cut: bool, calls: list[str]
    ) -> None:
        setting = Setting(cut=cut)
        attempt = setting.passed()
        # Held: a forgotten block would end when it is collected, and look as if it had been left.
        block = setting.step.applying(attempt)
        with block:
            setting.calls.append("step")
            assert (attempt.phase, attempt.undone) == (Phase.STEPPING, False)
        assert setting.calls == calls
        assert attempt.raised is None

    @pytest.mark.parametrize("cut", [True, False])
    def test_an_exception_inside_is_kept_for_the_end_of_the_step(self, cut: bool) -> None:
        setting = Setting(cut=cut)
        attempt = setting.passed()
        with setting.step.applying(attempt):
            raise RuntimeError("half a step")
        assert setting.calls[-2:] == ["nominal" if cut else "data.used", "executor.raised_in"]
        assert attempt.raised is not None
        assert (attempt.raised.message, attempt.phase) == ("half a step", Phase.STEPPING)

    @pytest.mark.parametrize("cut", [True, False])
    @pytest.mark.parametrize("interrupt", [KeyboardInterrupt, SystemExit])
    def test_an_interrupt_passes_through_and_the_update_is_over(
        self, interrupt: type[BaseException], cut: bool
    ) -> None:
        setting = Setting(cut=cut)
        attempt = setting.passed()
        block = setting.step.applying(attempt)
        with pytest.raises(interrupt), block:
            raise interrupt
        assert setting.calls[-1] == ("nominal" if cut else "data.used")
        assert (attempt.raised, attempt.phase, attempt.undone) == (None, Phase.ENDED, False)


class TestSettling:
    def test_a_sound_one_stands(self) -> None:
        setting = Setting()
        attempt = setting.stepped()
        assert setting.step.settle(attempt) == Verdict(apply=False, outcome=OUTCOME)
        assert setting.calls == [
            "executor.after_update",
            "continuation.check_due",
            "continuation.accept",
        ]
        assert attempt.phase is Phase.ENDED

    def test_the_copied_batches_of_one_that_stands_become_a_canary(self) -> None:
        setting = Setting()
        attempt = setting.stepped()
        attempt.copied_batches = ("batch",)
        setting.step.settle(attempt)
        assert setting.calls[-2:] == ["canaries.healthy", "continuation.accept"]

    def test_the_state_is_looked_at_where_that_is_due(self) -> None:
        setting = Setting(check_due=True)
        assert setting.step.settle(setting.stepped()).outcome is OUTCOME
        assert setting.calls == [
            "executor.after_update",
            "continuation.check_due",
            "executor.check_state",
            "experimenter.without_extremes",
            "experimenter.judge_state",
            "continuation.accept",
        ]

    def test_what_it_finds_reached_the_weights(self) -> None:
        setting = Setting(check_due=True, found={"bad_parameters": ("outer.bias",)})
        attempt = setting.stepped()
        assert setting.step.settle(attempt) is DISCARDED
        assert setting.calls[-1] == "discarding.discard"
        assert [signal.name for signal in attempt.signals] == ["nonfinite_parameter"]
        assert setting.discarded == [(Phase.ENDED, False)]

    def test_one_on_trial_stands_or_is_discarded(self) -> None:
        for stands in (True, False):
            setting = Setting(on_trial=stands)
            attempt = setting.stepped()
            attempt.suspicions = (Signal(SignalName.ODD_UPDATE),)
            found = setting.step.settle(attempt)
            assert found.outcome is OUTCOME if stands else found is DISCARDED
            last = "continuation.accept" if stands else "discarding.discard"
            assert setting.calls[-2:] == ["experimenter.judge_trial", last]

    def test_so_does_one_whose_state_looked_odd(self) -> None:
        setting = Setting(check_due=True, state_is_sound=False)
        assert setting.step.settle(setting.stepped()) is DISCARDED
        assert setting.calls[-2:] == ["experimenter.judge_state", "discarding.discard"]

    def test_an_exception_of_the_optimizer_is_answered_and_the_schedule_does_not_step(self) -> None:
        setting = Setting()
        attempt = setting.passed()
        with setting.step.applying(attempt):
            raise RuntimeError("half a step")
        setting.calls.clear()
        assert setting.step.settle(attempt) is DISCARDED
        assert setting.calls == ["executor.check_state", "experimenter.without_extremes", "discarding.discard"]
        assert setting.discarded == [(Phase.ENDED, False)]

    def test_so_is_one_of_the_scheduler(self) -> None:
        setting = Setting(raises_in="after_update")
        assert setting.step.settle(setting.stepped()) is DISCARDED
        assert setting.calls[:2] == ["executor.after_update", "executor.check_state"]
        assert setting.calls[2:] == ["experimenter.without_extremes", "discarding.discard"]
