"""Going on from the newest checkpoint that can be trusted, written by this version or by the first."""

from __future__ import annotations

import math
import tarfile
from pathlib import Path
from typing import Any

import pytest
import torch
from support.exact import assert_same
from support.parts import attempt_of, check_of, log_to, policy_of, subject_of
from support.recorder import Calls, Recorder
from support.training import Training, build, healthy_batches

from supervisor.checkpoints import CheckpointStore
from supervisor.errors import InputError
from supervisor.policy import RecoveryPolicy, load_policy
from supervisor.record.quarantine import Quarantine
from supervisor.record.run_ledger import RunLedger
from supervisor.records import Observation, Signal, SignalName
from supervisor.signals import Detectors
from supervisor.states import CheckpointParts, GoodStates, RestorePoints, Resuming, StateTaker
from supervisor.testing.clock import FakeClock
from supervisor.testing.events import EventList
from supervisor.training.data_cursor import DataCursor
from supervisor.training.schedule import Schedule
from supervisor.training.state import Subject

FIXTURE = Path(__file__).resolve().parents[2] / "fixtures" / "run_of_version_0_1.tar.gz"
BATCHES = healthy_batches(20)
BAD = (Signal(SignalName.NONFINITE_LOSS),)


def ladder(*rungs: Any, **changes: Any) -> RecoveryPolicy:
    return policy_of(
        *rungs,
        probation_steps=2,
        snapshot={"keep": 0},
        checkpoint={"every_steps": 3, "keep": 9},
        cooldown_steps=50,
        **changes,
    )


class Run:
    """Everything that a resume puts back, around one training."""

    def __init__(
        self, folder: Path, policy: RecoveryPolicy | None = None, training: Training | None = None, *, seed: int = 0
    ) -> None:
        self.policy = ladder() if policy is None else policy
        self.training = build(seed=seed) if training is None else training
        self.heard = EventList()
        log = log_to(self.heard)
        scheduler = Schedule(self.training.scheduler, "step").scheduler
        extra = self.training.extra_state
        self.subject: Subject = subject_of(self.training, extra)
        self.subject = Subject(self.training.model, self.training.optimizer, scheduler, None, extra, self.subject.names)
        self.store = CheckpointStore(folder / "checkpoints", "run", FakeClock())
        self.states = GoodStates(self.policy, self.store, log)
        assert self.states.disk is not None
        self.cursor = DataCursor(BATCHES)
        self.ledger = RunLedger(self.policy, FakeClock())
        self.points = RestorePoints(self.subject, self.cursor, self.ledger, self.states.spares)
        self.detectors = Detectors(self.policy)
        quarantine = Quarantine(True, self.cursor, None, log)
        parts = CheckpointParts(panel=self.detectors, quarantine=quarantine)
        check = check_of(self.subject)
        self.taker = StateTaker(self.policy, check, self.points, self.states, parts, log)
        self.resuming = Resuming(self.policy, self.store, check, self.points, parts, self.states.disk, log)

    def step(self, times: int) -> None:
        for _ in range(times):
            batch = self.cursor.next()
            place = self.ledger.begin(self.cursor.batch_number)
            loss = self.training.loss(batch)
            loss.backward()  # type: ignore[no-untyped-call]
            self.training.optimizer.step()
            self.training.optimizer.zero_grad()
            seen = Observation(place.step, place.update, float(loss.detach()), 1.0, lr=0.01)
            self.detectors.accept(seen)
            self.ledger.applied(seen)
            self.states.healthy_step(place.step, place.update)
            self.taker.take_due(known_finite=True)
        self.states.flush()

    def flag(self) -> None:
        self.cursor.next()
        place = self.ledger.begin(self.cursor.batch_number)
        self.ledger.decide(attempt_of(place.step, place.update, loss=math.nan), BAD, {}, cause=None, can_retry=True)
        self.ledger.used_up()

    def state(self) -> Any:
        counters = self.ledger.counters
        return {
            "training": self.subject.capture().to_tree(),
            "data": self.cursor.position(),
            "counters": {name: value for name, value in counters.to_plain().items() if name != "seconds"},
            "engine": self.ledger.engine.to_plain(),
            "incident": self.ledger.incident,
            "detectors": self.detectors.state_dict(),
        }

    def checkpoint(self, step: int) -> Path:
        return self.store.directory / f"step-{step:08d}"


def began(folder: Path, steps: int = 8) -> Run:
    run = Run(folder)
    run.taker.begin()
    run.step(steps)
    return run


def tear(path: Path) -> None:
    state = path / "state.pt"
    state.write_bytes(state.read_bytes()[:-100])


def rewritten(run: Run, step: int, change: Any) -> None:
    """The checkpoint written anew with a change in it: its hashes are right again."""
    path = run.checkpoint(step)
    tree, update = run.store.load(path), run.store.verify(path).update
    change(tree)
    run.store.retire(path)
    run.store.write(step, update, tree)


def test_everything_is_as_it_was_at_the_newest_checkpoint(tmp_path: Path) -> None:
    run = began(tmp_path, 4)
    run.flag()
    run.step(1)
    then = run.state()
    assert run.checkpoint(6).is_dir()
    run.step(2)
    other = Run(tmp_path, seed=5)
    other.resuming.resume()
    assert_same(other.state(), then)
    assert other.ledger.incident is not None
    (event,) = other.heard
    assert (event.event, event.checkpoint_step, event.path) == ("run_resumed", 6, "checkpoints/step-00000006")
    assert (event.step, event.update, event.reason, event.ladder_begins_anew) == (6, 6, None, False)


def test_the_checkpoints_there_are_known_with_their_probation(tmp_path: Path) -> None:
    began(tmp_path, 7)
    other = Run(tmp_path)
    other.resuming.resume()
    assert other.states.disk is not None
    assert sorted((kept.step, kept.good, kept.healthy_steps) for kept in other.states.disk) == [
        (0, True, 0),
        (3, True, 0),
        (6, False, 0),
    ]
    rewritten(other, 6, lambda tree: tree.update(probation={3: 1}))
    (other.checkpoint(3) / "good.json").unlink()
    third = Run(tmp_path)
    third.resuming.resume()
    assert third.states.disk is not None
    assert third.states.disk.healthy_steps() == {3: 1, 6: 0}


@pytest.mark.parametrize("damage", ["torn", "no manifest", "not finite", "something else", "a number", "half a state"])
def test_one_that_cannot_be_trusted_is_passed_over_and_said_so(damage: str, tmp_path: Path) -> None:
    run = began(tmp_path)
    if damage == "torn":
        tear(run.checkpoint(6))
    elif damage == "no manifest":
        (run.checkpoint(6) / "manifest.json").unlink()
    else:

        def spoil(tree: Any) -> None:
            if damage == "not finite":
                tree["moment"]["training"]["parameters"]["outer.bias"][0] = math.nan
            elif damage == "something else":
                del tree["moment"]
            elif damage == "a number":
                tree["moment"]["training"] = 3
            else:
                del tree["moment"]["training"]["rng"]

        rewritten(run, 6, spoil)
    other = Run(tmp_path, seed=5)
    other.resuming.resume()
    rejected, resumed = other.heard
    assert (rejected.event, rejected.checkpoint_step, rejected.path) == (
        "checkpoint_rejected",
        6,
        "checkpoints/step-00000006",
    )
    assert rejected.reason
    assert (resumed.event, resumed.checkpoint_step) == ("run_resumed", 3)
    assert other.ledger.counters.step == 3
    assert other.states.disk is not None
    assert sorted(kept.step for kept in other.states.disk) == [0, 3]
    assert other.checkpoint(6).is_dir()


def test_one_of_another_training_is_told_and_nothing_older_is_tried(tmp_path: Path) -> None:
    run = began(tmp_path)

    def widen(tree: Any) -> None:
        tree["moment"]["training"]["parameters"]["outer.bias"] = torch.zeros(7)

    rewritten(run, 6, widen)
    other = Run(tmp_path, seed=5)
    before = other.subject.capture().to_tree()
    with pytest.raises(InputError, match=r"checkpoints/step-00000006: is of another training: outer\.bias has shape"):
        other.resuming.resume()
    assert other.heard == []
    assert_same(other.subject.capture().to_tree(), before)
    assert len(list(run.store.directory.glob("step-*"))) == 3


def test_where_none_can_be_trusted_nothing_is_changed(tmp_path: Path) -> None:
    run = began(tmp_path)
    for step in (0, 3, 6):
        tear(run.checkpoint(step))
    other = Run(tmp_path)
    with pytest.raises(InputError, match="none of its 3 checkpoints can be trusted: start a new run directory"):
        other.resuming.resume()
    assert [event.event for event in other.heard] == ["checkpoint_rejected"] * 3


def test_under_another_ladder_it_begins_at_the_lowest_rung(tmp_path: Path) -> None:
    run = began(tmp_path, 4)
    run.flag()
    run.step(1)
    assert run.ledger.incident is not None
    other = Run(tmp_path, ladder({"action": "skip_batch", "attempts": 7}))
    other.resuming.resume()
    assert other.ledger.incident is None
    assert other.ledger.engine.incidents == 1
    assert other.heard[0].ladder_begins_anew
    assert "ladder changed" in other.heard[0].reason


@pytest.mark.parametrize(("changed", "halted"), [({}, True), ({"gradient_clip": {"max_norm": 1.0}}, False)])
def test_a_halted_run_goes_on_under_any_other_policy_alone(changed: Any, halted: bool, tmp_path: Path) -> None:
    run = Run(tmp_path, ladder({"action": "halt"}))
    run.taker.begin()
    run.step(2)
    run.flag()
    run.ledger.halt(2)
    run.taker.commit()
    assert run.ledger.halted
    other = Run(tmp_path, ladder({"action": "halt"}, **changed))
    other.resuming.resume()
    assert other.ledger.halted is halted
    assert other.heard[0].ladder_begins_anew is not halted
    assert other.heard[0].reason is None


HALTING = ({"action": "lower_lr", "attempts": 1, "restore_after_steps": 200}, {"action": "halt"})


def halted(folder: Path) -> Run:
    """A run that was halted after its rate had been cut."""
    run = Run(folder, ladder(*HALTING))
    run.taker.begin()
    run.step(2)
    run.flag()
    run.flag()
    run.ledger.halt(4)
    run.taker.commit(good=True)
    assert run.ledger.halted
    assert run.ledger.lr_scale == 0.5
    return run


@pytest.mark.parametrize("changed", [{}, {"gradient_clip": {"max_norm": 1.0}}])
def test_after_a_halt_that_was_mended_it_goes_on_with_a_fresh_ladder_and_without_cuts(
    changed: Any, tmp_path: Path
) -> None:
    run = halted(tmp_path)
    then = run.state()
    other = Run(tmp_path, ladder(*HALTING, **changed), seed=5)
    assert other.resuming.resume(after_halt=True)
    assert other.ledger.engine == run.ledger.engine.after_halt()
    assert (other.ledger.lr_scale, other.ledger.halted, other.ledger.engine.incidents) == (1.0, False, 1)
    for kept in ("training", "data", "counters", "detectors"):
        assert_same(other.state()[kept], then[kept])
    assert [(event.event) for event in other.heard][:2] == ["run_resumed", "lr_restored"]
    assert (other.heard[0].ladder_begins_anew, other.heard[0].after_halt, other.heard[1].lr_scale) == (True, True, 1.0)


def test_also_under_a_ladder_that_is_shorter_now(tmp_path: Path) -> None:
    halted(tmp_path)
    other = Run(tmp_path, ladder({"action": "halt"}))
    assert other.resuming.resume(after_halt=True)
    assert other.ledger.lr_scale == 1.0


def test_a_run_that_was_not_halted_keeps_all_of_its_memory(tmp_path: Path) -> None:
    run = Run(tmp_path, ladder(*HALTING))
    run.taker.begin()
    run.flag()
    run.step(2)
    assert run.checkpoint(3).is_dir()
    other = Run(tmp_path, ladder(*HALTING))
    assert not other.resuming.resume(after_halt=True)
    assert other.ledger.engine == run.ledger.engine
    assert other.ledger.lr_scale == 0.5
    assert [event.event for event in other.heard] == ["run_resumed"]


def test_the_halt_does_not_come_back_when_the_run_is_killed_before_its_next_checkpoint(tmp_path: Path) -> None:
    halted(tmp_path)
    second = Run(tmp_path, ladder(*HALTING))
    second.resuming.resume(after_halt=True)
    second.taker.write_again()
    assert [path.name for path in sorted(second.store.directory.iterdir())] == ["step-00000000", "step-00000004"]
    assert second.states.disk is not None
    assert {kept.step: kept.good for kept in second.states.disk} == {0: True, 4: True}
    third = Run(tmp_path, ladder(*HALTING))
    third.resuming.resume()
    assert not third.ledger.halted
    assert third.ledger.lr_scale == 1.0
    assert_same(third.state()["training"], second.state()["training"])


def test_a_policy_that_differs_is_said_with_the_keys_that_differ(tmp_path: Path) -> None:
    began(tmp_path)
    other = Run(tmp_path, ladder(gradient_clip={"max_norm": 1.0}))
    other.resuming.resume()
    assert [event.event for event in other.heard] == ["run_resumed", "settings_changed"]
    assert other.heard[1].changes == ("policy.gradient_clip (null, now {'max_norm': 1.0})",)


def test_a_change_beside_the_ladder_leaves_an_open_incident_open(tmp_path: Path) -> None:
    run = began(tmp_path, 4)
    run.flag()
    run.step(1)
    other = Run(tmp_path, ladder(gradient_clip={"max_norm": 1.0}))
    other.resuming.resume()
    assert other.ledger.incident == run.ledger.incident is not None


def test_the_state_is_put_back_before_the_data_so_that_a_one_shot_iterator_goes_on(tmp_path: Path) -> None:
    began(tmp_path)
    calls = Calls()
    other = Run(tmp_path)
    data: Any = Recorder(DataCursor, "data", calls)
    points = RestorePoints(other.subject, data, other.ledger, other.states.spares)
    resuming = other.resuming
    Resuming(
        resuming.policy, resuming.store, resuming.check, points, resuming.parts, resuming.states, resuming.log
    ).resume()
    assert calls == ["data.resume"]
    assert calls.given["data.resume"][0][0]["batch_number"] == 6


class TestTheFirstVersion:
    @pytest.fixture
    def run(self, tmp_path: Path) -> Run:
        with tarfile.open(FIXTURE) as archive:
            archive.extractall(tmp_path, filter="data")
        folder = tmp_path / "run"
        # That version climbed by counting alone.
        policy = load_policy(folder / "policy.yaml").model_copy(update={"experiments": None})
        return Run(folder, policy, build(seed=3, scheduler="cosine", average=True))

    def test_its_checkpoint_is_gone_on_from_with_its_open_incident(self, run: Run) -> None:
        tree = run.store.load(run.checkpoint(15))
        run.resuming.resume()
        assert [event.event for event in run.heard] == ["run_resumed"]
        assert not run.heard[0].ladder_begins_anew
        assert_same(run.subject.capture().to_tree(), tree["moment"]["training"])
        counters, engine, record = run.ledger.counters, run.ledger.engine, run.ledger.incident
        assert (counters.step, counters.update, counters.applied_steps, counters.skipped_steps) == (15, 15, 13, 2)
        assert (engine.clock, engine.lr_scale, engine.rung) == (15, 0.5, 1)
        assert record is not None
        assert [decision.action for decision in record.decisions] == ["skip_batch", "lower_lr"]
        assert (record.id, record.steps_lost, record.replays, len(record.causes)) == (1, 2, 2, 2)
        assert record.bundle is not None
        assert (record.bundle.batch, record.bundle.state) == ("batch.pt", "state.pt")
        assert record.opened_at_seconds == counters.seconds - tree["book"]["seconds"] > 0
        assert run.detectors.state_dict()["loss_spike"] == tree["panel"]["loss_spike"]
        assert run.cursor.batch_number == 15

    def test_the_older_one_serves_where_its_newest_is_torn(self, run: Run) -> None:
        tear(run.checkpoint(15))
        run.resuming.resume()
        assert [event.event for event in run.heard] == ["checkpoint_rejected", "run_resumed"]
        assert run.ledger.counters.step == 10
        assert run.ledger.engine.lr_scale == 1.0
