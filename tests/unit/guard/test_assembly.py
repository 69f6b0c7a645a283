"""The parts of a guard, bound together."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from support.exact import assert_same, everything
from support.training import Training, build, healthy_batches, quiet
from torch.optim.lr_scheduler import StepLR

from supervisor.errors import InputError, PolicyMisfit
from supervisor.events.quarantine_file import QuarantinedSample, read_quarantine
from supervisor.guard.assembly import Parts, TrainingObjects, assemble
from supervisor.guard.recovery import Redrawing
from supervisor.policy import load_policy
from supervisor.record.run_files import Reporting
from supervisor.testing.clock import FakeClock
from supervisor.testing.events import EventList
from supervisor.training.data_cursor import DataCursor
from supervisor.training.data_position import DataPosition
from supervisor.training.schedule import Schedule
from supervisor.update import UpdateSettings

BATCHES = healthy_batches(8)


def assembled(training: Training, run_dir: Path | None = None, **options: Any) -> Parts:
    """The parts, as `Guard` has them assembled."""
    replay = options.pop("replay", training.loss)
    objects = TrainingObjects(
        training.model,
        training.optimizer,
        Schedule(training.scheduler, options.pop("interval", "step")),
        options.pop("scaler", None),
        training.extra_state,
        options.pop("data", None) or DataCursor(BATCHES),
    )
    heard = options.pop("heard", EventList())
    reporting = Reporting(run_dir, options.pop("resume", False), None, 1, False, [heard], None, FakeClock())
    policy = load_policy(quiet(checkpoint={"every_steps": 2}, probation_steps=1, **options.pop("policy", {})))
    return assemble(
        policy, objects, UpdateSettings(), reporting, Redrawing(), loss=training.loss, replay=replay, **options
    )


def steps(parts: Parts, times: int) -> None:
    data: Any = parts.data
    for _ in range(times):
        attempt = parts.step.begin(data.give(1))
        parts.step.judge(attempt, parts.executor.compute(attempt.batches), None)
        with parts.step.applying(attempt):
            parts.executor.step_optimizer()
        parts.step.settle(attempt)
    parts.states.flush()


def test_in_memory_alone_nothing_is_written_and_an_update_passes_through_all_of_them(tmp_path: Path) -> None:
    training = build()
    parts = assembled(training)
    steps(parts, 3)
    assert (parts.states.disk, parts.log.path) == (None, None)
    assert (parts.ledger.counters.step, parts.data.batch_number) == (3, 3)
    assert parts.step.points.ledger is parts.ledger
    assert parts.step.points.spares is parts.states.spares
    assert list(tmp_path.iterdir()) == []


def test_initial_weights_that_are_not_finite_are_refused_by_name(tmp_path: Path) -> None:
    training = build()
    with torch.no_grad():
        training.model.get_parameter("outer.bias")[1] = math.nan
    with pytest.raises(InputError, match=r"model: outer\.bias not finite before the first step: mend the initial"):
        assembled(training, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_policy_that_does_not_fit_the_model_is_refused() -> None:
    with pytest.raises(PolicyMisfit, match=r"ladder\.0\.modules"):
        assembled(build(), policy={"ladder": [{"action": "reinitialize", "modules": ["gru"]}]})


def test_what_a_step_changes_beside_torch_is_under_supervision() -> None:
    training = build(average=True)
    assert set(assembled(training).subject.extra) == {"average"}
    training = build()
    training.scheduler = StepLR(training.optimizer, 3)
    by_epoch = assembled(training, interval="epoch")
    assert by_epoch.subject.extra == {"supervisor.schedule": by_epoch.schedule}


def test_a_checkpoint_has_the_parts_under_the_names_of_the_file_format(tmp_path: Path) -> None:
    parts = assembled(build(), tmp_path / "run")
    parts.taker.begin()
    tree = torch.load(tmp_path / "run" / "checkpoints" / "step-00000000" / "state.pt", weights_only=True)
    assert tree.keys() == {
        "moment",
        "policy",
        "probation",
        "counters",
        "engine",
        "book",
        "panel",
        "experiments",
        "quarantine",
        "cures",
        "canaries",
    }
    assert {name: tree[name] for name in ("counters", "engine", "book")} == parts.ledger.state_dict()


def test_a_resumed_one_stands_where_the_run_stood(tmp_path: Path) -> None:
    first = build(draws=True)
    parts = assembled(first, tmp_path / "run")
    steps(parts, 4)
    then = everything(first)
    steps(parts, 1)
    parts.log.close()
    parts.writer.release()
    second, heard = build(seed=5, draws=True), EventList()
    other = assembled(second, tmp_path / "run", resume=True, heard=heard)
    assert [event.event for event in heard] == ["run_resumed"]
    assert_same(everything(second), then)
    assert (other.ledger.counters.step, other.data.batch_number) == (4, 4)
    # It is known already what is on disk.
    assert other.states.disk is not None
    assert sorted(kept.step for kept in other.states.disk) == [2, 4]
    steps(other, 1)
    assert_same(everything(second), everything(first))


def test_known_bad_samples_are_left_out_from_the_start_and_after_a_resume(tmp_path: Path) -> None:
    known = [QuarantinedSample(index=41), QuarantinedSample(index=6)]
    parts = assembled(build(), tmp_path / "run", known_bad=known)
    assert parts.data.quarantined == {41, 6}
    steps(parts, 2)
    parts.log.close()
    parts.writer.release()
    other = assembled(build(), tmp_path / "run", resume=True, known_bad=[QuarantinedSample(index=5)])
    assert other.data.quarantined == {41, 6, 5}
    assert [sample.index for sample in read_quarantine(tmp_path / "run" / "quarantine.jsonl")] == [41, 6, 5]


def test_the_schedule_begins_in_the_epoch_of_the_data(tmp_path: Path) -> None:
    rates = []
    for resumed in (False, True):
        training = build()
        training.scheduler = StepLR(training.optimizer, 1, gamma=0.5)
        parts = assembled(training, tmp_path / "run", interval="epoch", resume=resumed)
        if not resumed:
            steps(parts, 10)
            parts.log.close()
            parts.writer.release()
        parts.schedule.follow(parts.data)
        rates.append(training.optimizer.param_groups[0]["lr"])
    assert rates == [0.005, 0.005]


def test_without_a_way_to_run_a_step_again_the_executor_says_so() -> None:
    assert assembled(build()).executor.no_replay is None
    assert "replay" in (assembled(build(), replay=None).executor.no_replay or "")


def test_data_of_the_callers_own_are_counted() -> None:
    parts = assembled(build(), data=DataPosition(None))
    parts.step.begin((BATCHES[0], BATCHES[1]))
    assert parts.data.batch_number == 2


@pytest.mark.parametrize(
    ("scaled", "computed_in", "limit"),
    [
        (True, "auto", 65504.0),
        (False, "auto", None),
        (True, "float32", None),
        (False, "float16", 65504.0),
        (False, "bfloat16", float(torch.finfo(torch.bfloat16).max)),
    ],
)
def test_parameters_have_the_limit_of_the_type_that_they_are_computed_in(
    scaled: bool, computed_in: str, limit: float | None
) -> None:
    scaler = torch.amp.GradScaler("cpu", enabled=scaled)
    policy = {"detect": {"headroom": {"computed_in": computed_in}}}
    seen = assembled(build(), policy=policy, scaler=scaler).check.findings(0).headroom
    assert seen is not None
    assert seen.limits == ({} if limit is None else dict.fromkeys(seen.largest, limit))


def test_without_forecasts_nothing_is_read_for_them() -> None:
    assert assembled(build(), policy={"detect": {"headroom": None}}).check.findings(0).headroom is None


def test_what_forecasts_take_is_read_no_more_often_than_it_is_kept() -> None:
    policy = {"detect": {"state_every_steps": 1, "headroom": {"window_updates": 32}}}
    parts = assembled(build(), policy=policy)
    read = []
    for number in range(9):
        due = parts.check.findings(number).headroom is not None
        steps(parts, 1)
        read.append(due)
    # A check is kept at every fourth update.
    assert read == [True, False, False, False, True, False, False, False, True]
