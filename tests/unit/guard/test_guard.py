"""`Guard`: its arguments, the whole loop, and a loop of one's own over its batches."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch
from support.exact import assert_same, everything
from support.training import EventList, build, guard_of, healthy_batches, nan_batch, quiet

from supervisor.errors import InputError, PolicyHalt
from supervisor.events.schema import RunStatus
from supervisor.guard.guard import Guard
from supervisor.testing.clock import FakeClock

BATCHES = healthy_batches(12)
HALT = quiet(ladder=[{"action": "halt"}])


class TestArguments:
    @pytest.mark.parametrize(
        ("wrong", "told"),
        [
            ({"model": 3}, "model: an int"),
            ({"loss": None}, "loss: None"),
            ({"optimizer": []}, "optimizer: an empty list"),
            ({"accumulate": 0}, "accumulate: 0"),
            ({"policy": {"ladder": 3}}, "policy: ladder"),
            ({"quarantine": "no/such.jsonl"}, r"no/such\.jsonl: cannot be read"),
            ({"resume": True}, "resume: there is nothing to resume"),
        ],
    )
    def test_each_wrong_one_is_refused_in_words_of_its_own(self, wrong: Any, told: str) -> None:
        training = build()
        with pytest.raises(InputError, match=told):
            Guard(**{"model": training.model, "optimizer": training.optimizer, "loss": training.loss, **wrong})

    def test_what_the_loop_itself_needs_is_asked_for_when_it_is_called(self) -> None:
        training = build()
        bare = Guard(model=training.model, optimizer=training.optimizer)
        with pytest.raises(InputError, match="step: Guard needs `loss`"):
            bare.step(BATCHES[0])
        with pytest.raises(InputError, match="data: Guard needs `data` to give batches"):
            bare.run(3)
        assert bare.updates_attempted == 0

    @pytest.mark.parametrize("replay", [None, True, False, "another"])
    def test_a_step_is_run_again_by_the_loss_or_by_another_function_or_never(self, replay: Any) -> None:
        training, again, heard = build(), [], EventList()

        def another(batch: Any) -> Any:
            again.append(batch)
            return training.loss(batch)

        guard = guard_of(training, replay=another if replay == "another" else replay, listeners=[heard])
        guard.step(nan_batch(BATCHES[0]))
        found = [event.kind for event in heard.named("diagnosis")]
        assert found == ([] if replay is False else ["bad_input"])
        assert bool(again) is (replay == "another")
        assert [event.message for event in heard.named("warning")] == (
            []
            if found
            else [
                "the cause of incident 1 is not known: "
                "the guard was given no loss function that it may call again (`replay`)"
            ]
        )

    def test_every_listener_and_the_clock_are_the_given_ones(self) -> None:
        heard, shown, clock = EventList(), [], FakeClock()
        guard = guard_of(
            build(),
            BATCHES,
            listeners=[heard],
            on_progress=shown.append,
            clock=clock,
            run_id="mine",
            about={"seed": 7},
            log_every_steps=2,
        )
        guard.run(4)
        assert {(event.run_id, event.time) for event in heard} == {("mine", clock.now())}
        assert (heard[0].seed, heard[0].accumulate, heard[0].log) == (7, 1, None)
        assert [event.step for event in heard.named("step")] == [1, 3]
        assert [progress.step for progress in shown] == [0, 1, 2, 3]


class TestRunning:
    def test_it_ends_at_the_step_it_is_given_and_says_what_it_came_to(self) -> None:
        guard = guard_of(build(), BATCHES)
        summary = guard.run(15)
        assert (summary.status, summary.steps, summary.applied_steps) == ("finished", 15, 15)
        assert (guard.status, guard.steps_done, guard.batches_drawn) == (RunStatus.FINISHED, 15, 15)
        assert guard.run(18).steps == 18
        assert guard.run(3).steps == 18

    def test_a_halt_is_said_by_the_summary_and_not_raised(self) -> None:
        guard = guard_of(build(), [BATCHES[0], nan_batch(BATCHES[1])], policy=HALT)
        assert guard.run(9).status == "halted"
        assert guard.run(9).steps == guard.steps_done

    def test_a_stop_that_was_asked_for_ends_it_after_the_step(self) -> None:
        guard = guard_of(build(), BATCHES, on_progress=lambda shown: guard.request_stop())
        summary = guard.run(9)
        assert (summary.status, summary.steps) == ("interrupted", 1)

    def test_an_epoch_ends_before_the_next_batch_is_drawn(self) -> None:
        training = build()
        training.scheduler = torch.optim.lr_scheduler.StepLR(training.optimizer, 1, gamma=0.5)
        guard = guard_of(training, BATCHES, scheduler_interval="epoch")
        rates = []
        for batch in guard.batches(14):
            guard.step(batch)
            rates.append(training.optimizer.param_groups[0]["lr"])
        assert rates == [0.01] * 11 + [0.005] * 3


class TestSteps:
    def test_a_healthy_step_is_the_step_of_a_plain_loop(self) -> None:
        training = build(draws=True, average=True)
        outcome = guard_of(training).step(BATCHES[0])
        found = everything(training)
        plain = build(draws=True, average=True)
        loss = plain.loss(BATCHES[0])
        loss.backward()  # type: ignore[no-untyped-call]
        plain.optimizer.step()
        assert_same(found, everything(plain))
        assert (outcome.step, outcome.applied, outcome.signals, outcome.action) == (0, True, (), None)
        assert outcome.loss == float(loss.detach())
        assert outcome.grad_norm > 0

    def test_a_bad_one_is_discarded_and_told(self) -> None:
        training = build(draws=True)
        guard = guard_of(training)
        guard.step(BATCHES[0])
        before = everything(training)
        outcome = guard.step(nan_batch(BATCHES[1]))
        assert (outcome.step, outcome.applied, outcome.action) == (1, False, "skip_batch")
        assert [signal.name for signal in outcome.signals] == ["nonfinite_loss", "nonfinite_gradient"]
        assert_same(everything(training), before)
        assert guard.steps_done == 2

    def test_an_exception_of_the_loss_is_a_finding_and_nothing_keeps_it_alive(self) -> None:
        """It holds the frames of the step, and with them the batch and the graph."""
        training, raised = build(), []

        class Fault(Exception):
            def __init__(self) -> None:
                raised.append(weakref.ref(self))

        def loss(batch: Any) -> Any:
            if not raised:
                raise Fault
            return training.loss(batch)

        guard = guard_of(training, loss=loss, replay=False)
        gc.collect()
        gc.disable()
        try:
            outcome = guard.step(BATCHES[0])
            assert raised[0]() is None
        finally:
            gc.enable()
        assert [signal.name for signal in outcome.signals] == ["step_exception"]
        assert guard.step(BATCHES[0]).applied

    def test_nor_does_anything_in_a_loop_that_catches_it_itself(self) -> None:
        training = build()

        class Fault(Exception):
            pass

        def hook(*_: Any) -> None:
            raise Fault

        training.model.get_submodule("outer").register_forward_hook(hook)
        guard = guard_of(training, replay=False)
        guard.before_batch(BATCHES[0])
        gc.collect()
        gc.disable()
        try:
            try:
                training.loss(BATCHES[0])
            except Fault as error:
                held = weakref.ref(error)
                outcome = guard.after_backward(None, error).outcome
            assert held() is None
        finally:
            gc.enable()
        assert outcome is not None
        assert not outcome.applied

    def test_an_interrupt_inside_the_loss_gives_the_update_up(self) -> None:
        training, strikes = build(draws=True, average=True), [KeyboardInterrupt]

        def loss(batch: Any) -> Any:
            found = training.loss(batch)
            if strikes:
                raise strikes.pop()
            return found

        guard = guard_of(training, BATCHES, loss=loss)
        before = everything(training)
        with pytest.raises(KeyboardInterrupt):
            guard.run(3)
        assert_same(everything(training), before)
        assert (guard.updates_attempted, guard.steps_done) == (0, 0)
        assert guard.run(3).applied_steps == guard.batches_drawn == 3

    def test_the_end_of_the_ladder_is_raised_with_its_reason(self) -> None:
        guard = guard_of(build(), policy=HALT)
        with pytest.raises(PolicyHalt, match="nonfinite_loss: sample 2 of the batch"):
            guard.step(nan_batch(BATCHES[0]))
        with pytest.raises(PolicyHalt, match="halted by its policy"):
            guard.step(BATCHES[0])

    def test_accumulated_batches_come_in_a_tuple(self) -> None:
        guard = guard_of(build(), BATCHES, accumulate=3)
        sizes = []
        for batches in guard.batches(4):
            sizes.append(len(batches))
            assert guard.step(batches).applied
        assert (sizes, guard.batches_drawn) == ([3] * 4, 12)


class TestBatchesOfOnesOwn:
    """A guard that was given data is handed other batches all the same."""

    def test_they_count_as_new_ones(self) -> None:
        heard = EventList()
        policy = quiet(cooldown_steps=2, probation_steps=2, snapshot={"every_steps": 3})
        guard = guard_of(build(), BATCHES, policy=policy, listeners=[heard])
        for number, batch in enumerate(BATCHES):
            guard.step(nan_batch(batch) if number == 4 else batch)
        assert [event.event for event in heard if "incident" in event.event] == ["incident_opened", "incident_closed"]
        assert [kept.step for kept, _ in guard.parts.states.memory if kept.good] == [3, 6, 9]
        assert guard.parts.ledger.engine.clock == 12

    def test_a_batch_that_was_given_and_not_used_comes_again(self) -> None:
        guard = guard_of(build(), BATCHES)
        first = next(iter(guard.batches(9)))
        assert next(iter(guard.batches(9))) is first

    def test_one_that_was_given_and_used_does_not(self) -> None:
        guard = guard_of(build(), BATCHES)
        for batch in guard.batches(9):
            guard.step(batch)
            break
        assert next(iter(guard.batches(9))) is BATCHES[1]


def test_a_resumed_guard_goes_on_and_says_so_once(tmp_path: Path) -> None:
    expected = build(draws=True)
    guard_of(expected, BATCHES, run_dir=tmp_path / "whole").run(9)
    guard = guard_of(build(draws=True), BATCHES, run_dir=tmp_path / "run")
    guard.run(5)
    guard.close()
    training, heard = build(seed=4, draws=True), EventList()
    resumed = guard_of(training, BATCHES, run_dir=tmp_path / "run", resume=True, listeners=[heard])
    assert (resumed.steps_done, resumed.status) == (5, None)
    resumed.run(9)
    assert_same(everything(training), everything(expected))
    assert [event.event for event in heard if event.event.startswith("run_")] == ["run_resumed", "run_finished"]


def test_a_halted_run_that_is_resumed_stays_halted(tmp_path: Path) -> None:
    guard_of(build(), [nan_batch(BATCHES[0])], policy=HALT, run_dir=tmp_path).run(3)
    resumed = guard_of(build(), BATCHES, policy=HALT, run_dir=tmp_path, resume=True)
    assert resumed.status is RunStatus.HALTED
    assert resumed.run(3).status == "halted"
    with pytest.raises(PolicyHalt):
        resumed.step(BATCHES[0])
