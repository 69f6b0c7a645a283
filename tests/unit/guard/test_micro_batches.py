"""Which of an update's accumulated batches are at fault, and which may be used again."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from support.exact import assert_same
from support.parts import attempt_of, check_of, policy_of, subject_of
from support.recorder import Calls, Recorder

from supervisor.guard.micro_batches import MicroBatchJudge
from supervisor.records import Observation, SignalName
from supervisor.signals import Detectors
from supervisor.testing.tiny import TinyTrainer, with_nan
from supervisor.update import Attempt, Executor, NativeExecutor, UpdateSettings

POLICY = policy_of(detect={"spike": {"window_updates": 16, "threshold": 8.0, "warmup_updates": 4}})


class Setting:
    """A judge over a tiny training, with the real executor unless one is given."""

    def __init__(self, executor: Any = None, loss: Any = None, trainer: TinyTrainer | None = None) -> None:
        self.trainer = trainer or TinyTrainer()
        self.subject = subject_of(self.trainer)
        self.detectors = Detectors(POLICY)
        replay = loss or self.trainer.loss
        native = NativeExecutor(self.subject, check_of(self.subject), UpdateSettings(accumulate=3), replay=replay)
        self.judge = MicroBatchJudge(self.subject, executor or native, self.detectors)

    def judged(self, *batches: Any, **seen: Any) -> Attempt:
        attempt = attempt_of(8, 9, *batches, before=self.subject.capture_volatile(), **{"loss": math.nan, **seen})
        attempt.signals = self.detectors.inspect(attempt.seen)
        self.judge.judge(attempt)
        return attempt


def test_each_bad_one_is_found_by_itself_and_the_others_can_be_used_again() -> None:
    setting = Setting()
    a, b, c = setting.trainer.data[:3]
    attempt = setting.judged(a, with_nan(b), c)
    assert (attempt.at_fault, attempt.reusable, attempt.seen.bad_batches) == ((1,), (0, 2), (1,))
    (found,) = [signal for signal in attempt.signals if signal.name is SignalName.NONFINITE_LOSS]
    assert found.details["batches"] == ("1",)


def test_afterwards_everything_is_as_it_was_and_gradients_are_gone() -> None:
    setting = Setting()
    torch.rand(3)
    setting.trainer.model.get_buffer("norm.running_mean").fill_(2.0)
    before = setting.subject.capture().to_tree()
    setting.judged(setting.trainer.data[0], with_nan(setting.trainer.data[1]))
    assert_same(setting.subject.capture().to_tree(), before)
    assert all(parameter.grad is None for parameter in setting.trainer.model.parameters())


def test_a_bad_one_is_undone_before_the_next_is_judged() -> None:
    """Its statistics are in every batch after it."""
    trainer = TinyTrainer()
    running_mean = trainer.model.get_buffer("norm.running_mean")

    def loss(batch: Any) -> Any:
        # What the statistics hold is in the loss, as where a model is judged by them.
        return trainer.loss(batch) + 0.0 * running_mean.sum()

    setting = Setting(trainer=trainer, loss=loss)
    a, b, c = trainer.data[:3]
    attempt = setting.judged(with_nan(a), b, c)
    assert (attempt.at_fault, attempt.reusable) == ((0,), (1, 2))


def test_where_none_is_at_fault_by_itself_none_comes_again() -> None:
    setting = Setting()
    attempt = setting.judged(*setting.trainer.data[:3])
    assert (attempt.at_fault, attempt.reusable) == ((), ())


def test_none_comes_again_where_the_loss_writes_to_its_batch() -> None:
    trainer = TinyTrainer()

    def loss(batch: Any) -> Any:
        batch[0].mul_(0.5)
        return trainer.loss(batch)

    setting = Setting(loss=loss, trainer=trainer)
    a, b = trainer.data[:2]
    attempt = setting.judged(a, with_nan(b))
    assert (attempt.at_fault, attempt.reusable) == ((1,), ())


def test_one_that_the_loss_raises_for_is_at_fault() -> None:
    trainer = TinyTrainer()
    a, bad, c = trainer.data[:3]

    def loss(batch: Any) -> Any:
        if batch is bad:
            raise RuntimeError("no")
        return trainer.loss(batch)

    setting = Setting(loss=loss, trainer=trainer)
    assert setting.judged(a, bad, c, exception="RuntimeError: no").at_fault == (1,)


def test_batches_that_lie_on_no_graph_of_their_own_are_no_matter() -> None:
    """A tensor of inference mode counts no writes."""
    trainer = TinyTrainer()
    with torch.inference_mode():
        held = torch.zeros(2)
    a, b = trainer.data[:2]
    setting = Setting(loss=lambda batch: trainer.loss(batch[:2]), trainer=trainer)
    assert setting.judged((*a, held), (*with_nan(b), held)).reusable == (0,)


class TestLeftAlone:
    def untouched(self, *batches: Any, no_replay: str | None = None, **seen: Any) -> None:
        calls = Calls()
        executor = Recorder(Executor, "executor", calls, no_replay=no_replay)
        attempt = Setting(executor).judged(*(batches or ("a", "b")), **seen)
        assert calls == []
        assert (attempt.at_fault, attempt.reusable, attempt.seen.bad_batches) == ((), (), ())

    def test_an_update_of_one_batch(self) -> None:
        self.untouched("a")

    def test_one_that_cannot_be_run_again(self) -> None:
        self.untouched(no_replay="never")

    @pytest.mark.parametrize(
        "poisoned", [{"bad_parameters": ("outer.bias",)}, {"bad_optimizer_state": ("outer.bias.exp_avg",)}]
    )
    def test_one_whose_state_was_bad_before(self, poisoned: Any) -> None:
        self.untouched(**poisoned)

    def test_a_finding_that_no_batch_brings_about_by_itself(self) -> None:
        calls = Calls()
        setting = Setting(Recorder(Executor, "executor", calls, no_replay=None))
        for update in range(16):
            setting.detectors.accept(Observation(update, update, 1.0 + 0.01 * (update % 3), 1.0))
        attempt = setting.judged("a", "b", loss=1e6)
        assert [signal.name for signal in attempt.signals] == ["loss_spike"]
        assert calls == []
