"""The first updates: how long they take, and why there are none."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from supervisor import Guard
from supervisor.clock import Clock
from supervisor.errors import InputError
from supervisor.events.schema import StepEvent, WarningEvent
from supervisor.preflight import trial as module
from supervisor.preflight.trial import Trial, TrialFailed, WarningsHeard, batch_norms, peak_memory
from supervisor.testing.clock import FakeClock
from supervisor.testing.tiny import Batch, TinyTrainer, with_nan

CPU = torch.device("cpu")


class Slow(TinyTrainer):
    """Its first loss takes ten seconds, the others one; the losses named in `faults` go wrong."""

    def __init__(self, clock: FakeClock, faults: dict[int, Callable[[], object]] | None = None) -> None:
        super().__init__()
        self.clock, self.faults, self.calls = clock, faults or {}, 0

    def loss(self, batch: Batch) -> Tensor:
        call, self.calls = self.calls, self.calls + 1
        self.clock.advance(10.0 if call == 0 else 1.0)
        self.faults.get(call, lambda: None)()
        return super().loss(batch)


def trial_of(trainer: TinyTrainer, clock: Clock, **values: Any) -> Trial:
    policy = {"experiments": None, "diagnose": {"enabled": False}}
    arguments: dict[str, Any] = {"model": trainer.model, "optimizer": trainer.optimizer, "loss": trainer.loss}
    arguments = {**arguments, "data": trainer.data, "policy": policy, "quiet": True, **values}
    return Trial(Guard(**arguments), trainer, CPU, clock)


def test_the_first_update_is_told_apart_from_the_others() -> None:
    clock = FakeClock()
    found = trial_of(Slow(clock), clock).run(1000)
    assert (found.applied, found.first_seconds, found.seconds) == (module.WANTED, 10.0, 1.0)
    assert found.peak_memory_bytes > 10**6
    assert found.peak_cuda_bytes is None


def test_slow_updates_are_not_taken_for_longer_than_needed() -> None:
    clock = FakeClock()
    trainer = Slow(clock, {call: lambda: clock.advance(100.0) for call in range(10)})
    assert trial_of(trainer, clock).run(1000).applied == 2


def test_a_schedule_that_is_shorter_is_no_obstacle() -> None:
    clock = FakeClock()
    assert trial_of(Slow(clock), clock).run(1).applied == module.WANTED


def test_batches_that_are_discarded_are_passed_over() -> None:
    clock, trainer = FakeClock(), Slow(FakeClock())
    trainer.data[0] = with_nan(trainer.data[0])
    assert trial_of(trainer, clock).run(1000).applied == module.WANTED


def raising(error: BaseException) -> Callable[[], object]:
    def do() -> None:
        raise error

    return do


def test_an_exception_on_every_batch_is_told_with_its_line() -> None:
    clock = FakeClock()
    trainer = Slow(clock, {call: raising(IndexError("index 7 is out of range")) for call in range(99)})
    with pytest.raises(TrialFailed, match=rf"IndexError: index 7 is out of range.*{__file__}:\d+"):
        trial_of(trainer, clock).run(1000)
    assert trainer.calls <= 2 * module.MOST


def test_what_helps_is_said_where_it_is_known() -> None:
    clock = FakeClock()
    said = ValueError("Expected more than 1 value per channel when training, got input size torch.Size([1, 8])")
    trainer = Slow(clock, {call: raising(said) for call in range(99)})
    with pytest.raises(TrialFailed, match="drop_last=True"):
        trial_of(trainer, clock).run(1000)


def test_a_loss_that_never_is_finite_takes_no_step() -> None:
    clock, trainer = FakeClock(), Slow(FakeClock())
    trainer.data = [with_nan(batch) for batch in trainer.data]
    with pytest.raises(TrialFailed, match="nonfinite_loss"):
        trial_of(trainer, clock).run(1000)


def test_data_that_raise_are_told_with_their_line() -> None:
    class Torn:
        def __iter__(self) -> Any:
            yield from ()
            raise OSError("the archive is torn")

    with pytest.raises(TrialFailed, match=rf"OSError: the archive is torn.*{__file__}:\d+"):
        trial_of(TinyTrainer(), FakeClock(), data=Torn()).run(1000)
    with pytest.raises(InputError, match="no batches"):
        trial_of(TinyTrainer(), FakeClock(), data=[]).run(1000)


def test_an_evaluation_is_timed_and_its_metrics_are_numbers() -> None:
    clock, trainer = FakeClock(), TinyTrainer()
    trial = trial_of(trainer, clock)
    assert trial.evaluate() is None
    answers = count(1)
    trainer.evaluate = lambda: (clock.advance(3.0), {"mrr": next(answers)})[1]  # type: ignore[attr-defined]
    assert trial.evaluate() == (3.0, {"mrr": 1.0})
    for wrong in (lambda: {"mrr": "high"}, lambda: 3, raising(KeyError("mrr"))):
        trainer.evaluate = wrong  # type: ignore[attr-defined]
        with pytest.raises(TrialFailed, match="evaluate raises"):
            trial.evaluate()


def test_an_evaluation_may_leave_the_model_as_it_likes() -> None:
    trainer = TinyTrainer()
    trial = trial_of(trainer, FakeClock())
    trial.run(1000)
    trainer.evaluate = lambda: {"sum": float(trainer.model.eval()(torch.ones(1, 4)).sum())}  # type: ignore[attr-defined]
    assert trial.evaluate() is not None
    assert all(module.training for module in trainer.model.modules())
    assert trial.refuses(1) is not None


def test_the_loss_is_tried_on_few_rows() -> None:
    trainer = TinyTrainer()
    trial = trial_of(trainer, FakeClock())
    trial.run(1000)
    refused = trial.refuses(1)
    assert refused is not None
    assert refused.startswith("ValueError: Expected more than 1 value per channel when training")
    assert f"{__file__.rpartition('tests')[0]}supervisor" not in refused
    assert trial.refuses(2) is None
    assert trial.refuses(0) is trial.refuses(8) is None


def test_modules_that_take_statistics_are_those_in_training_mode() -> None:
    model = nn.Sequential(
        nn.BatchNorm1d(2), nn.LayerNorm(2), nn.Sequential(nn.BatchNorm2d(3).eval(), nn.BatchNorm2d(3))
    )
    assert batch_norms(model) == ["0", "2.1"]
    assert batch_norms(nn.BatchNorm1d(2)) == ["the model"]


def test_the_peak_is_in_bytes() -> None:
    memory, cuda = peak_memory(CPU)
    assert 10**7 < memory < 10**13
    assert cuda is None


def test_warnings_are_kept_and_other_events_are_not() -> None:
    heard = WarningsHeard()
    heard.renderer(WarningEvent(message="careful"))
    heard.renderer(StepEvent(step=1, update=1, loss=1.0, grad_norm=1.0, lr=0.1, lr_scale=1.0, step_seconds=0.1))
    assert heard.messages == ["careful"]
    assert heard.evaluate(lambda: {"a": 1.0}) == {"a": 1.0}
