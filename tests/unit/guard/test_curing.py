"""A set-up that is wrong is mended by what helps on forks, and the cure stays."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
from support.exact import assert_same, everything
from support.training import EventList, Training, build, guard_of, healthy_batches, nan_batch, quiet
from torch import nn
from torch.utils.data import DataLoader, Dataset

from supervisor.errors import PolicyHalt
from supervisor.guard.curing import Curing
from supervisor.records import ActionName, SignalName

BATCHES = healthy_batches(16)
RUNG = {"action": "try_cures", "steps": 6, "probe_batches": 3}
LADDER = [{"action": "reload_checkpoint", "attempts": 1}, RUNG]


def policy(*ladder: Any, **changes: Any) -> dict[str, Any]:
    return quiet(ladder=[*(ladder or LADDER)], cooldown_steps=3, probation_steps=2, **changes)


def explosive(rate: float = 50.0) -> Training:
    """A rate with which every run ends in numbers that are not finite."""
    training = build(optimizer="sgd_momentum")
    for group in training.optimizer.param_groups:
        group["lr"] = rate
    usual = training.loss
    training.loss = lambda batch: usual(batch) + sum(p.square().sum() for p in training.model.parameters())
    return training


def run(training: Training, steps: int = 40, data: Iterable[Any] = BATCHES, **options: Any) -> tuple[Any, EventList]:
    heard = EventList()
    guard = guard_of(training, data, **{"policy": policy(), "listeners": [heard], **options})  # type: ignore[arg-type]
    return guard.run(steps), heard


class TestAReloadThatLedNoFurther:
    def test_the_cure_that_helps_is_in_force(self, tmp_path: Path) -> None:
        summary, heard = run(explosive(), run_dir=tmp_path / "run")
        assert (summary.status, summary.steps) == ("finished", 40)
        assert summary.cured_by[ActionName.TRY_CURES] == 1
        (chosen,) = (event for event in heard if event.event == "cure_chosen")
        assert summary.cures == (chosen.cure,)
        assert chosen.keep_score > 1e6 > chosen.score
        tried = [event for event in heard if event.event == "cure_tried"]
        assert tried[0].cure == "keep"
        assert not [event for event in tried if event.cure == "lr 10.0"], "no reason to go faster"
        record = json.loads((tmp_path / "run" / "incidents" / f"{chosen.incident:04}" / "incident.json").read_text())
        assert [row["cure"] for row in record["cures"]] == [event.cure for event in tried]
        assert [row["cure"] for row in record["cures"] if row["chosen"]] == [chosen.cure]

    def test_a_resume_goes_on_with_it(self, tmp_path: Path) -> None:
        summary, _ = run(explosive(), run_dir=tmp_path / "run")
        training = explosive()
        guard = guard_of(training, BATCHES, policy=policy(), run_dir=tmp_path / "run", resume=True)
        executor = guard.parts.executor
        assert (executor.lr_factor, executor.max_norm) != (1.0, None)
        assert guard.run(60).cures == summary.cures
        assert guard.summary().incidents == summary.incidents

    def test_where_none_helps_the_reload_leaves_the_rate_as_it_is(self) -> None:
        only = policy({"action": "reload_checkpoint"}, {**RUNG, "cures": [{"lr": 0.999}]})
        _, heard = run(explosive(), policy=only)
        failed = next(event for event in heard if event.event == "action_failed")
        assert "none of 1 cures" in failed.error
        then = next(event for event in heard[heard.index(failed) :] if event.event == "action_applied")
        # Other rates were among what was tried.
        assert (then.action, then.lr_scale) == (ActionName.RELOAD_CHECKPOINT, None)

    def test_without_the_rung_nothing_is_tried(self) -> None:
        _, heard = run(explosive(), policy=policy(LADDER[0]))
        assert not [event for event in heard if event.event == "cure_tried"]


class Torn(Dataset[Any]):
    """One row of it cannot be read."""

    def __init__(self, row: int) -> None:
        self.row = row

    def __len__(self) -> int:
        return 800

    def __getitem__(self, index: int) -> Any:
        if index == self.row:
            raise OSError("torn record")
        return torch.randn(6, generator=torch.Generator().manual_seed(index)), torch.tensor(index % 3)


@pytest.mark.parametrize(("accumulate", "row"), [(1, 244), (2, 484)])
def test_a_row_that_raises_for_a_fork_is_left_out_of_it_and_answered_later(accumulate: int, row: int) -> None:
    data = DataLoader(Torn(row), 8, generator=torch.Generator().manual_seed(1))
    ladder = policy({"action": "skip_batch"}, *LADDER)
    summary, heard = run(explosive(), data=data, policy=ladder, accumulate=accumulate)
    assert (summary.status, summary.quarantined) == ("finished", (row,))
    assert summary.cured_by[ActionName.TRY_CURES] == 1
    assert not heard.named("action_failed")
    (diagnosis,) = (event for event in heard.named("diagnosis") if event.dataset_indices)
    assert "OSError: torn record" in diagnosis.explanation
    order = [event.event for event in heard]
    assert order.index("cure_chosen") < order.index("quarantined")


def test_where_cures_answer_a_row_that_raises_there_is_an_update_of_no_batch() -> None:
    data = DataLoader(Torn(20), 8, generator=torch.Generator().manual_seed(1))
    _, heard = run(build(), data=data, policy=policy({**RUNG, "cures": [{"lr": 0.999}]}))
    assert heard.named("quarantined")
    assert [event.error for event in heard.named("action_failed")] == [
        "none of 1 cures of the set-up trains better than none"
    ]


class TestWhereNoForkCanBeMade:
    @pytest.mark.parametrize("options", [{"replay": False}, {"snapshots": 0}])
    def test_the_rung_is_passed_over_with_the_reason(self, options: dict[str, Any]) -> None:
        snapshot = {"every_steps": 20, "keep": options.pop("snapshots", 3)}
        summary, heard = run(explosive(), policy=policy(RUNG, snapshot=snapshot), **options)
        assert summary.status == "halted"
        assert "passed over: try_cures (" in [e for e in heard if e.event == "decision"][-1].reason

    def test_nor_where_the_caller_draws(self) -> None:
        training, heard = explosive(), EventList()
        guard = guard_of(training, policy=policy(RUNG), listeners=[heard])
        guard.begin(9)
        with pytest.raises(PolicyHalt, match="does not draw the batches"):
            guard.step(nan_batch(BATCHES[0]))


class TestBatches:
    def test_those_of_the_forks_come_again_in_order_and_each_is_seen_once(self) -> None:
        training, seen = build(), list[int]()
        usual = training.loss
        batches = [(*batch, torch.tensor(number)) for number, batch in enumerate(healthy_batches(60))]
        batches[4] = (torch.full_like(batches[4][0], math.nan), *batches[4][1:])
        training.loss = lambda batch: usual(batch[:2])
        heard = EventList()
        guard = guard_of(training, batches, policy=policy(RUNG, LADDER[0]), listeners=[heard])
        for batch in guard.batches(20):
            seen.append(int(batch[2]))
            guard.step(batch)
        assert [event for event in heard if event.event == "cure_tried"]
        assert seen[:15] == [*range(15)]

    def test_a_bad_one_among_them_says_nothing_about_a_cure(self) -> None:
        batches = [*BATCHES[:4], nan_batch(BATCHES[4]), *BATCHES[5:8], nan_batch(BATCHES[8]), *BATCHES[9:]]
        _, heard = run(build(), data=batches, policy=policy(RUNG), steps=6)
        keep = next(event for event in heard if event.event == "cure_tried")
        assert math.isfinite(keep.score)


class TestStopping:
    def test_a_stop_abandons_the_forks_and_nothing_is_changed(self) -> None:
        training = build()
        batches = [*BATCHES[:4], nan_batch(BATCHES[4]), *BATCHES[5:]]
        heard = EventList()
        guard = guard_of(
            training,
            batches,
            policy=policy(RUNG),
            listeners=[heard, lambda event: event.event == "cure_tried" and guard.request_stop()],
        )
        assert guard.run(20).status == "interrupted"
        assert guard.steps_done == 5
        assert len([event for event in heard if event.event == "cure_tried"]) == 1
        alone = build()
        guard_of(alone, BATCHES).run(4)
        assert_same(everything(training, rng=False), everything(alone, rng=False))


class TestNotLearning:
    def training(self) -> Training:
        """A start that is far too large, in a layer that learns slowly: finite, and worse than nothing for long."""
        training = build(optimizer="sgd_momentum")
        with torch.no_grad():
            training.model.outer.weight.mul_(1000)
        for group in training.optimizer.param_groups:
            group["lr"] = 1e-6
        return training

    def test_the_flagged_module_is_drawn_afresh_and_the_batch_comes_again(self) -> None:
        training = self.training()
        summary, heard = run(training, 200, policy=policy(LADDER[0], RUNG, {"action": "halt"}))
        found = [event for event in heard if event.event == "signal"]
        assert [event.signal for event in found] == [SignalName.INITIAL_SCALE, SignalName.NOT_LEARNING]
        assert found[1].loss > 1.5 * found[1].loss_of_zeros
        assert summary.status == "finished"
        assert summary.incidents_by_signal == {SignalName.NOT_LEARNING: 1}
        assert "reinitialize_flagged" in summary.cures[0]
        assert float(training.model.outer.weight.detach().abs().max()) < 10

    def test_where_no_cure_helps_the_incident_closes_and_the_training_goes_on(self) -> None:
        training = self.training()
        only = {**RUNG, "cures": [{"lr": 0.9999}]}
        summary, heard = run(training, 200, policy=policy(LADDER[0], only))
        assert (summary.status, summary.cures, summary.skipped_steps) == ("finished", (), 1)
        assert [e.event for e in heard if e.event in ("incident_closed", "action_failed")] == ["incident_closed"]
        alone = self.training()
        guard_of(alone, BATCHES, policy=quiet(reactions={"not_learning": None})).run(199)
        assert_same(everything(training, rng=False), everything(alone, rng=False))

    def test_it_may_be_observed_or_not_looked_for(self) -> None:
        for reaction, found in (("observe", 1), (None, 0)):
            summary, heard = run(self.training(), 150, policy=policy(reactions={"not_learning": reaction}))
            assert summary.incidents == 0
            assert len([e for e in heard if e.event == "signal" and e.signal == "not_learning"]) == found

    def test_a_healthy_run_calls_the_loss_once_a_batch(self) -> None:
        training, calls = build(), list[int]()
        usual = training.loss

        def loss(batch: Any) -> Any:
            calls.append(1)
            return usual(batch)

        # An odd update would be tried, and there are some in the noise of so small a training.
        summary, heard = run(training, 200, policy={"detect": {"spike": None, "drift": None}}, loss=loss)
        assert (len(calls), summary.incidents) == (200, 0)
        assert not [event for event in heard if event.event == "signal"]


def test_a_frozen_start_is_measured_without_touching_anything() -> None:
    training = build(model=lambda: nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 3)))
    with torch.no_grad():
        training.model[2].weight.zero_()
    heard = EventList()
    guard = guard_of(training, BATCHES, listeners=[heard])
    before = everything(training)
    guard.begin(5)
    assert_same(everything(training), before)
    assert [event.signal for event in heard if event.event == "signal"] == ["initial_scale"]
    assert guard.parts.setup.cures.flagged == ("2",)
    assert isinstance(guard.parts.setup.curing, Curing)
