"""The calls of a loop that runs its model and its optimizer itself: their order, and what they leave behind."""

from __future__ import annotations

import gc
import math
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from support.exact import assert_same, everything
from support.training import EventList, Training, build, guard_of, healthy_batches, nan_batch, quiet

from supervisor.errors import InputError, PolicyHalt
from supervisor.events.schema import RunStatus
from supervisor.guard.guard import Guard
from supervisor.guard.primitives import Primitives
from supervisor.testing.clock import FakeClock

BATCHES = healthy_batches(20)
POLICY = quiet(
    ladder=[{"action": "skip_batch"}, {"action": "reload_checkpoint"}],
    snapshot={"every_steps": 2},
    probation_steps=1,
    cooldown_steps=2,
)


class Loop:
    """A loop of one's own on the primitives alone."""

    def __init__(self, *, accumulate: int = 1, **options: Any) -> None:
        self.training: Training = build(draws=True, average=True)
        self.heard = EventList()
        options = {"policy": POLICY, "listeners": [self.heard], "clock": FakeClock(), **options}
        guard: Guard = guard_of(self.training, options.pop("data", None), accumulate=accumulate, **options)
        # The primitives by themselves, on the parts of a guard.
        self.primitives = Primitives(guard.parts, accumulate, {"accumulate": accumulate}, resumed=False)

    def backward(self, batch: Any) -> torch.Tensor:
        loss = self.training.loss(batch)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    def judged(self, batch: Any) -> Any:
        self.primitives.before_batch(batch)
        return self.primitives.after_backward(self.backward(batch))

    def update(self, batch: Any, inside: Callable[[], object] = lambda: None) -> Any:
        verdict = self.judged(batch)
        if verdict.apply:
            with self.primitives.applying():
                self.training.optimizer.step()
                inside()
            verdict = self.primitives.after_step()
        return verdict

    def at(self, phase: str) -> Loop:
        """Bring an update to where `phase` says."""
        if phase == "begun":
            self.primitives.before_batch(BATCHES[0])
        elif phase == "passed":
            self.judged(BATCHES[0])
        elif phase == "stepping":
            self.judged(BATCHES[0])
            with self.primitives.applying():
                self.training.optimizer.step()
        elif phase == "ended":
            self.update(BATCHES[0])
        return self


class TestTheOrderOfCalls:
    @pytest.mark.parametrize(
        ("call", "first", "allowed"),
        [
            ("after_backward", "before_batch", "begun"),
            ("applying", "after_backward", "passed"),
            ("after_step", "applying", "stepping"),
        ],
    )
    @pytest.mark.parametrize("phase", ["none", "begun", "passed", "stepping", "ended"])
    def test_each_call_names_the_one_that_comes_first(self, phase: str, call: str, first: str, allowed: str) -> None:
        loop = Loop().at(phase)
        method = getattr(loop.primitives, call)
        arguments = (loop.backward(BATCHES[0]),) if call == "after_backward" else ()
        if phase == allowed:
            method(*arguments)
            return
        with pytest.raises(InputError, match=f"^{call}: call {first} first, once for each update$"):
            method(*arguments)

    @pytest.mark.parametrize("phase", ["begun", "passed", "stepping"])
    def test_an_update_is_ended_before_the_next_begins(self, phase: str) -> None:
        loop = Loop().at(phase)
        with pytest.raises(InputError, match="before_batch: the update before was not ended: call after_backward, or"):
            loop.primitives.before_batch(BATCHES[1])

    @pytest.mark.parametrize("phase", ["none", "ended"])
    def test_after_its_end_the_next_begins(self, phase: str) -> None:
        loop = Loop().at(phase)
        assert loop.update(BATCHES[1]).outcome.applied

    def test_once_the_optimizer_has_stepped_an_update_cannot_be_abandoned(self) -> None:
        loop = Loop().at("stepping")
        with pytest.raises(InputError, match="abandon: the optimizer has stepped: call after_step"):
            loop.primitives.abandon()
        assert loop.primitives.after_step().outcome.applied

    @pytest.mark.parametrize("loss", [None, 1.0, torch.zeros(2), "loss"])
    def test_a_loss_is_a_tensor_of_one_element_and_a_call_without_one_changes_nothing(self, loss: Any) -> None:
        loop = Loop().at("begun")
        real = loop.backward(BATCHES[0])
        with pytest.raises(InputError, match="after_backward: give the loss of the update, a tensor of one element"):
            loop.primitives.after_backward(loss)
        assert loop.primitives.after_backward(real).apply

    def test_an_error_needs_no_loss(self) -> None:
        loop = Loop().at("begun")
        outcome = loop.primitives.after_backward(None, RuntimeError("no")).outcome
        assert outcome is not None
        assert [signal.name for signal in outcome.signals] == ["step_exception"]

    @pytest.mark.parametrize("steps", [0, -1, 2.5, None, "9"])
    def test_a_run_ends_at_a_whole_number_of_steps(self, steps: Any) -> None:
        with pytest.raises(InputError, match=f"steps: {steps}: write a whole number, 1 or more"):
            Loop().primitives.begin(steps)

    @pytest.mark.parametrize("batch", ["ab", (BATCHES[0],) * 3, [BATCHES[0]], BATCHES[0][0]])
    def test_accumulated_batches_come_together(self, batch: Any) -> None:
        loop = Loop(accumulate=2)
        with pytest.raises(InputError, match="accumulate=2 it takes a tuple of as many batches"):
            loop.primitives.before_batch(batch)
        assert loop.primitives.updates_attempted == 0


class TestAbandoning:
    @pytest.mark.parametrize("phase", ["begun", "passed"])
    def test_it_is_as_if_the_batch_had_never_been_drawn(self, phase: str) -> None:
        loop = Loop()
        for batch in BATCHES[:3]:
            loop.update(batch)
        primitives, before = loop.primitives, everything(loop.training)
        counts = (primitives.steps_done, primitives.updates_attempted, primitives.batches_drawn)
        clock = primitives.parts.ledger.engine.clock
        primitives.before_batch(BATCHES[3])
        loss = loop.backward(BATCHES[3])
        if phase == "passed":
            primitives.after_backward(loss)
        primitives.abandon()
        assert_same(everything(loop.training), before)
        assert all(parameter.grad is None for parameter in loop.training.model.parameters())
        assert (primitives.steps_done, primitives.updates_attempted, primitives.batches_drawn) == counts
        assert primitives.parts.ledger.engine.clock == clock
        # Twice is once.
        primitives.abandon()
        assert primitives.updates_attempted == counts[1]
        loop.update(BATCHES[3])
        assert primitives.steps_done == 4

    def test_where_nothing_is_open_nothing_happens(self) -> None:
        loop = Loop()
        loop.primitives.abandon()
        loop.update(BATCHES[0])
        before = everything(loop.training)
        loop.primitives.abandon()
        assert_same(everything(loop.training), before)
        assert loop.primitives.updates_attempted == 1

    def test_an_interrupt_in_the_hook_between_inspection_and_update_gives_it_up(self) -> None:
        strikes = [KeyboardInterrupt]

        def hook(norm: float) -> None:
            assert norm > 0
            if strikes and loop.primitives.updates_attempted == 4:
                raise strikes.pop()

        loop = Loop(on_gradients=hook)
        for batch in BATCHES[:3]:
            loop.update(batch)
        before = everything(loop.training)
        with pytest.raises(KeyboardInterrupt):
            loop.judged(BATCHES[3])
        assert_same(everything(loop.training), before)
        assert (loop.primitives.updates_attempted, loop.primitives.batches_drawn) == (3, 3)
        assert loop.update(BATCHES[3]).outcome.applied
        assert not loop.heard.named("signal")

    def test_an_interrupt_while_an_update_is_being_discarded_passes_through(self) -> None:
        def progress(shown: Any) -> None:
            if math.isnan(shown.loss):
                raise KeyboardInterrupt

        loop = Loop(on_progress=progress)
        loop.update(BATCHES[0])
        with pytest.raises(KeyboardInterrupt):
            loop.update(nan_batch(BATCHES[1]))
        assert (loop.primitives.updates_attempted, loop.primitives.steps_done) == (2, 2)
        assert loop.update(BATCHES[2]).outcome.applied


class TestApplying:
    def test_an_exception_inside_is_answered_by_a_reload(self) -> None:
        loop, states = Loop(), {}
        for step, batch in enumerate(BATCHES[:4]):
            states[step] = everything(loop.training)
            loop.update(batch)

        def fail() -> None:
            raise RuntimeError("half a step")

        verdict = loop.update(BATCHES[4], fail)
        assert (verdict.outcome.applied, verdict.outcome.action) == (False, "reload_checkpoint")
        assert [signal.name for signal in verdict.outcome.signals] == ["step_exception"]
        assert loop.primitives.steps_done == 2
        assert_same(everything(loop.training), states[2])
        decision = loop.heard.named("decision")[0]
        assert decision.blocked == {0: "the update reached the weights: only a reload can undo it"}

    def test_an_interrupt_inside_passes_through_and_the_next_update_can_begin(self) -> None:
        loop = Loop()

        def interrupt() -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            loop.update(BATCHES[0], interrupt)
        assert loop.update(BATCHES[1]).outcome.applied
        assert loop.primitives.updates_attempted == 2

    def test_the_rate_is_cut_inside_and_nominal_after(self) -> None:
        loop = Loop(policy=quiet(ladder=[{"action": "lower_lr", "factor": 0.5}]))
        loop.update(nan_batch(BATCHES[0]))
        rates: list[float] = []
        loop.update(BATCHES[1], lambda: rates.append(loop.training.optimizer.param_groups[0]["lr"]))
        assert (rates, loop.training.optimizer.param_groups[0]["lr"]) == ([0.005], 0.01)


class TestTheRun:
    def test_its_start_is_on_record_once_and_its_first_state_is_good(self) -> None:
        loop = Loop()
        loop.primitives.begin(9)
        loop.primitives.begin(9)
        loop.update(BATCHES[0])
        assert [event.steps for event in loop.heard.named("run_started")] == [9]
        assert [(kept.step, kept.good) for kept, _ in loop.primitives.parts.states.memory] == [(0, True)]
        assert loop.primitives.parts.taker.end == 9

    def test_a_loop_that_never_says_where_it_ends_begins_with_its_first_batch(self) -> None:
        loop = Loop()
        loop.update(BATCHES[0])
        assert [event.steps for event in loop.heard.named("run_started")] == [None]

    def test_it_ends_once_with_a_checkpoint_and_its_metrics(self, tmp_path: Path) -> None:
        loop = Loop(run_dir=tmp_path / "run", evaluate=lambda: {"mrr": 0.5})
        loop.primitives.begin(3)
        for batch in BATCHES[:3]:
            loop.update(batch)
        assert loop.primitives.status is None
        summary = loop.primitives.finish()
        assert (summary.status, summary.steps, summary.metrics) == ("finished", 3, {"mrr": 0.5})
        assert loop.primitives.finish() == summary
        assert loop.primitives.status is RunStatus.FINISHED
        assert [event.event for event in loop.heard][-3:] == ["checkpoint_saved", "metrics", "run_finished"]
        assert (tmp_path / "run" / "checkpoints" / "step-00000003").is_dir()
        loop.primitives.close()

    def test_one_that_was_interrupted_is_not_evaluated(self) -> None:
        loop = Loop(evaluate=lambda: {"mrr": 0.5})
        loop.update(BATCHES[0])
        summary = loop.primitives.finish(RunStatus.INTERRUPTED)
        assert (summary.status, summary.metrics) == ("interrupted", {})
        assert not loop.heard.named("metrics")

    @pytest.mark.parametrize("phase", ["begun", "passed"])
    def test_an_update_that_is_still_open_is_given_up_at_the_end(self, phase: str, tmp_path: Path) -> None:
        loop = Loop(run_dir=tmp_path / "run")
        loop.update(BATCHES[1])
        before = everything(loop.training)
        summary = loop.at(phase).primitives.finish()
        assert (summary.steps, loop.primitives.updates_attempted) == (1, 1)
        assert_same(everything(loop.training), before)
        (tmp_path / "run" / "checkpoints" / "step-00000001" / "manifest.json").read_text(encoding="utf-8")

    def test_one_that_has_stepped_is_to_be_settled_first(self) -> None:
        loop = Loop().at("stepping")
        with pytest.raises(InputError, match="call after_step"):
            loop.primitives.finish()
        loop.primitives.after_step()
        assert loop.primitives.finish().applied_steps == 1

    def test_a_step_beyond_the_end_goes_on_and_ends_anew(self) -> None:
        loop = Loop()
        loop.primitives.begin(1)
        loop.update(BATCHES[0])
        loop.primitives.finish()
        loop.update(BATCHES[1])
        assert loop.primitives.status is None
        assert loop.primitives.finish().steps == 2
        assert len(loop.heard.named("run_finished")) == 2
        assert len(loop.heard.named("run_started")) == 1

    def test_a_finished_run_goes_on_only_where_its_end_was_moved(self) -> None:
        loop = Loop()
        loop.update(BATCHES[0])
        loop.primitives.finish()
        loop.primitives.begin(1)
        assert loop.primitives.status is RunStatus.FINISHED
        loop.primitives.begin(2)
        assert loop.primitives.status is None

    def test_after_a_halt_there_is_no_further_update(self) -> None:
        loop = Loop(policy=quiet(ladder=[{"action": "halt"}]))
        loop.update(BATCHES[0])
        verdict = loop.update(nan_batch(BATCHES[1]))
        assert (verdict.apply, verdict.halt, loop.primitives.status) == (False, True, RunStatus.HALTED)
        assert "nonfinite_loss" in (verdict.reason or "")
        with pytest.raises(PolicyHalt, match="halted by its policy"):
            loop.primitives.before_batch(BATCHES[2])
        assert loop.primitives.finish().status == "halted"
        assert loop.heard[-1].event == "run_halted"

    def test_a_halt_after_the_step_ends_it_too(self) -> None:
        loop = Loop(policy=quiet(ladder=[{"action": "halt"}]))

        def fail() -> None:
            raise RuntimeError("half a step")

        assert loop.update(BATCHES[0], fail).halt
        assert loop.primitives.status is RunStatus.HALTED

    def test_a_batch_that_was_given_and_not_used_comes_again(self) -> None:
        loop = Loop(data=BATCHES)
        loop.primitives.begin(9)
        data: Any = loop.primitives.parts.data
        (given,) = data.give(1)
        loop.primitives.begin(9)
        assert data.give(1)[0] is given
        loop.primitives.finish()
        assert data.give(1)[0] is given

    def test_so_does_one_whose_update_was_abandoned(self) -> None:
        loop = Loop(data=BATCHES)
        loop.primitives.begin(9)
        data: Any = loop.primitives.parts.data
        (given,) = data.give(1)
        loop.primitives.before_batch(given)
        loop.primitives.abandon()
        loop.primitives.begin(9)
        assert data.give(1)[0] is given
        loop.update(given)
        loop.primitives.begin(9)
        assert data.give(1)[0] is not given

    @pytest.mark.parametrize("end", ["ended", "discarded", "abandoned"])
    def test_one_that_has_ended_its_update_is_not_kept_until_the_next(self, end: str) -> None:
        """Nor are the copies from before it, which would stand beside those of the next."""
        loop, (batch,) = Loop(), healthy_batches(1)
        batch = nan_batch(batch) if end == "discarded" else batch
        here = weakref.ref(batch[0])
        if end == "abandoned":
            loop.primitives.before_batch(batch)
            loop.primitives.abandon()
        else:
            loop.update(BATCHES[1])  # the first after a snapshot is kept as its canary
            assert loop.update(batch).outcome.applied is (end == "ended")
        del batch
        gc.collect()
        assert here() is None
