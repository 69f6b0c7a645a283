"""Invariant 5: a reload never restores a torn, altered or non-finite state; the newest good one is never deleted."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from support.exact import assert_finite, assert_same, everything
from support.training import EventList, build, guard_of, healthy_batches, nan_batch, quiet

from supervisor import InputError, PolicyHalt
from supervisor.guard import Guard
from supervisor.saved.manifest import sha256_of

BATCHES = healthy_batches(60)
POLICY = quiet(
    ladder=[{"action": "reload_checkpoint", "attempts": 3, "limit": {"uses": 10, "window_updates": 1000}}],
    snapshot={"keep": 0},
    checkpoint={"every_steps": 5, "keep": 3},
    probation_steps=3,
    cooldown_steps=3,
    detect={"state_every_steps": 5},
)


class Run:
    """A guarded training on disk alone, with every state it went through."""

    def __init__(self, run_dir: Path, **changes: Any) -> None:
        self.training = build(scheduler="cosine", draws=True)
        self.heard = EventList()
        self.run_dir = run_dir
        self.guard: Guard = guard_of(
            self.training, policy={**POLICY, **changes}, run_dir=run_dir, listeners=[self.heard]
        )
        self.states = {0: everything(self.training)}
        self.next = iter(BATCHES)

    def healthy(self, steps: int) -> None:
        for _ in range(steps):
            assert self.guard.step(next(self.next)).applied
            self.states[self.guard.steps_done] = everything(self.training)
        self.guard.flush()

    def bad(self) -> Any:
        return self.guard.step(nan_batch(next(self.next)))

    def checkpoint(self, step: int) -> Path:
        return self.run_dir / "checkpoints" / f"step-{step:08d}"

    def restored(self) -> list[int | None]:
        return [event.restored_step for event in self.heard.named("action_applied")]


def tear(path: Path) -> None:
    state = next(path.glob("*.pt"))
    state.write_bytes(state.read_bytes()[:-100])


def alter(path: Path) -> None:
    state = next(path.glob("*.pt"))
    held = bytearray(state.read_bytes())
    held[len(held) // 2] ^= 1
    state.write_bytes(bytes(held))


def empty(path: Path) -> None:
    next(path.glob("*.pt")).write_bytes(b"")


def lose_the_state(path: Path) -> None:
    next(path.glob("*.pt")).unlink()


def lose_the_manifest(path: Path) -> None:
    (path / "manifest.json").unlink()


def scribble_on_the_manifest(path: Path) -> None:
    (path / "manifest.json").write_text("{", encoding="utf-8")


def swap_in_another(path: Path) -> None:
    """A whole checkpoint of another step under this one's name: every hash in it is right."""
    other = path.parent / "step-00000000"
    shutil.rmtree(path)
    shutil.copytree(other, path)


def poison(path: Path) -> None:
    """A NaN written with care: sizes and hashes are right again."""
    state = next(path.glob("*.pt"))
    tree = torch.load(state, weights_only=True)
    next(iter(tree["moment"]["training"]["parameters"].values())).view(-1)[0] = math.nan
    seal(path, state, tree)


def poison_the_moments(path: Path) -> None:
    state = next(path.glob("*.pt"))
    tree = torch.load(state, weights_only=True)
    held = tree["moment"]["training"]["optimizer"]["state"]
    next(iter(held.values()))["exp_avg_sq"].view(-1)[0] = math.inf
    seal(path, state, tree)


def change_a_shape(path: Path) -> None:
    state = next(path.glob("*.pt"))
    tree = torch.load(state, weights_only=True)
    parameters = tree["moment"]["training"]["parameters"]
    parameters["inner.weight"] = torch.zeros(2, 2)
    seal(path, state, tree)


def seal(path: Path, state: Path, tree: Any) -> None:
    torch.save(tree, state)
    manifest = json.loads((path / "manifest.json").read_text(encoding="utf-8"))
    record = sha256_of(state)
    manifest["files"][state.name] = {"sha256": record.sha256, "bytes": record.bytes}
    (path / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    mark = {"schema": 1, "manifest_sha256": sha256_of(path / "manifest.json").sha256}
    (path / "good.json").write_text(json.dumps(mark), encoding="utf-8")


DAMAGE = [
    tear,
    alter,
    empty,
    lose_the_state,
    lose_the_manifest,
    scribble_on_the_manifest,
    swap_in_another,
    poison,
    poison_the_moments,
    change_a_shape,
]


@pytest.mark.parametrize("damage", DAMAGE, ids=lambda damage: damage.__name__)
def test_a_damaged_checkpoint_is_passed_over_for_the_next_older_and_said_so(
    damage: Callable[[Path], None], tmp_path: Path
) -> None:
    run = Run(tmp_path / "run")
    run.healthy(14)
    assert (run.checkpoint(10) / "good.json").exists()
    damage(run.checkpoint(10))
    outcome = run.bad()
    assert outcome.action == "reload_checkpoint"
    assert run.restored() == [5]
    assert_same(everything(run.training), run.states[5])
    rejected = [event for event in run.heard.named("checkpoint_rejected") if event.checkpoint_step == 10]
    assert len(rejected) == 1
    assert rejected[0].reason
    run.healthy(4)
    assert_finite(run.training)
    assert len(run.heard.named("incident_closed")) == 1


def test_when_all_are_damaged_the_run_halts_and_says_why(tmp_path: Path) -> None:
    run = Run(tmp_path / "run")
    run.healthy(14)
    before = everything(run.training)
    for path in (tmp_path / "run" / "checkpoints").iterdir():
        alter(path)
    with pytest.raises(PolicyHalt):
        run.bad()
    assert run.heard[-1].event == "run_halted"
    assert len(run.heard.named("checkpoint_rejected")) >= 3
    assert run.heard.named("action_failed")
    assert_same(everything(run.training), before)


def test_a_state_on_probation_is_never_restored(tmp_path: Path) -> None:
    run = Run(tmp_path / "run")
    run.healthy(12)
    assert run.checkpoint(10).is_dir()
    assert not (run.checkpoint(10) / "good.json").exists()
    run.bad()
    assert run.restored() == [5]
    assert_same(everything(run.training), run.states[5])


def test_promotion_comes_with_the_last_step_of_the_probation(tmp_path: Path) -> None:
    run = Run(tmp_path / "run")
    run.healthy(12)
    assert not (run.checkpoint(10) / "good.json").exists()
    run.healthy(1)
    assert (run.checkpoint(10) / "good.json").exists()
    promoted = [event.checkpoint_step for event in run.heard.named("checkpoint_promoted")]
    assert promoted == [0, 5, 10]


def test_a_flagged_step_makes_probation_count_anew(tmp_path: Path) -> None:
    ladder = [{"action": "skip_batch"}]
    run = Run(tmp_path / "run", ladder=ladder)
    run.healthy(12)
    assert run.bad().action == "skip_batch"
    run.healthy(2)
    assert not (run.checkpoint(10) / "good.json").exists()
    run.healthy(1)
    assert (run.checkpoint(10) / "good.json").exists()


@pytest.mark.parametrize("keep", [1, 2, 3])
def test_retention_keeps_good_states_and_never_deletes_the_newest(keep: int, tmp_path: Path) -> None:
    run = Run(tmp_path / "run", checkpoint={"every_steps": 2, "keep": keep}, probation_steps=5)
    for _ in range(40):
        run.healthy(1)
        good = sorted(p.parent.name for p in (tmp_path / "run" / "checkpoints").glob("step-*/good.json"))
        promoted = [event.checkpoint_step for event in run.heard.named("checkpoint_promoted")]
        assert 1 <= len(good) <= keep
        assert good == [f"step-{step:08d}" for step in promoted[-keep:]]


def test_faults_that_keep_everything_on_probation_leave_the_last_good_one(tmp_path: Path) -> None:
    run = Run(
        tmp_path / "run",
        ladder=[{"action": "skip_batch", "attempts": 100, "limit": None}],
        checkpoint={"every_steps": 1, "keep": 1},
        probation_steps=4,
    )
    run.healthy(4)
    for _ in range(12):
        run.healthy(2)
        run.bad()
    good = [path.parent.name for path in (tmp_path / "run" / "checkpoints").glob("step-*/good.json")]
    assert good == ["step-00000002"]
    assert len(list((tmp_path / "run" / "checkpoints").glob("step-*"))) <= 4


def test_a_reload_from_memory_and_one_from_disk_restore_the_same(tmp_path: Path) -> None:
    found = []
    for keep in (0, 3):
        run = Run(tmp_path / f"run{keep}", snapshot={"keep": keep, "every_steps": 5})
        run.healthy(14)
        run.bad()
        assert run.restored() == [10]
        assert run.heard.named("action_applied")[0].restored_from == ("memory" if keep else "disk")
        found.append(everything(run.training))
    assert_same(*found)


def test_restoring_the_same_snapshot_twice_restores_the_same(tmp_path: Path) -> None:
    """`Optimizer.load_state_dict` keeps the very tensors it is given: the next step would write into the snapshot."""
    run = Run(tmp_path / "run", snapshot={"keep": 1, "every_steps": 5}, checkpoint={"every_steps": 500})
    run.healthy(9)
    for _ in range(3):
        run.bad()
        assert_same(everything(run.training), run.states[5])
        run.guard.step(next(run.next))
        run.guard.step(next(run.next))
    assert run.restored() == [5, 5, 5]


def test_a_poisoned_snapshot_in_memory_is_passed_over_too(tmp_path: Path) -> None:
    run = Run(tmp_path / "run", snapshot={"keep": 3, "every_steps": 5}, checkpoint={"every_steps": 500})
    run.healthy(14)
    _, point = max(run.guard.parts.states.memory, key=lambda held: held[0].update)
    next(iter(point.training.parameters.values())).view(-1)[0] = math.nan
    run.bad()
    assert run.restored() == [5]
    assert_same(everything(run.training), run.states[5])
    assert any("10" in event.message for event in run.heard.named("warning"))


def test_the_initial_weights_are_good_at_once(tmp_path: Path) -> None:
    run = Run(tmp_path / "run")
    run.healthy(2)
    run.bad()
    assert run.restored() == [0]
    assert_same(everything(run.training), run.states[0])


def test_a_run_does_not_begin_with_a_poisoned_state(tmp_path: Path) -> None:
    """The initial state is good at once, so that nothing non-finite may be in it."""
    for spoilt in ("inner.weight", "norm.running_var", "exp_avg_sq"):
        run = Run(tmp_path / spoilt)
        run.training.loss(BATCHES[0]).backward()
        run.training.optimizer.step()
        if spoilt == "exp_avg_sq":
            tensor = run.training.optimizer.state[next(run.training.model.parameters())][spoilt]
        else:
            tensor = {**dict(run.training.model.named_parameters()), **dict(run.training.model.named_buffers())}[spoilt]
        tensor.data.view(-1)[1] = math.nan
        with pytest.raises(InputError, match=spoilt):
            run.guard.step(BATCHES[1])
        assert not list((tmp_path / spoilt / "checkpoints").glob("step-*"))


def test_weights_redrawn_on_a_good_state_are_the_newer_state_once_they_are_good(tmp_path: Path) -> None:
    """A later reload goes back to the redrawn weights, not behind them to the ones that had to be redrawn."""
    run = Run(
        tmp_path / "run",
        ladder=[
            {"action": "reinitialize", "modules": ["outer"], "limit": {"uses": 1, "window_updates": 1000}},
            {"action": "reload_checkpoint", "attempts": 1},
        ],
        snapshot={"keep": 3, "every_steps": 5},
        checkpoint={"every_steps": 500, "keep": 3},
        reactions={},
    )
    run.healthy(9)
    assert run.bad().action == "reinitialize"
    redrawn = everything(run.training)
    assert run.guard.steps_done == 5
    for _ in range(3):
        assert run.guard.step(next(run.next)).applied
    assert run.bad().action == "reload_checkpoint"
    assert_same(everything(run.training), redrawn)


def test_memory_that_is_used_again_is_never_that_of_a_state_still_held(tmp_path: Path) -> None:
    """The copies of retired states are written over: none of them may be held in memory or on its way to the disk."""
    run = Run(
        tmp_path / "run",
        snapshot={"every_steps": 1, "keep": 2},
        checkpoint={"every_steps": 3, "keep": 2},
        probation_steps=2,
    )
    updates_of_memory: dict[int, set[int]] = {}
    for _ in range(30):
        run.healthy(1)
        for kept, moment in run.guard.parts.states.memory:
            at = next(iter(moment.training.parameters.values())).data_ptr()
            updates_of_memory.setdefault(at, set()).add(kept.update)
            then = run.states[kept.step]
            assert_same(moment.training.parameters, {name: p.detach() for name, p in then["parameters"].items()})
    assert any(len(updates) > 1 for updates in updates_of_memory.values()), "memory was used again"
    for path in (tmp_path / "run" / "checkpoints").glob("step-*"):
        tree = torch.load(path / "state.pt", weights_only=True)["moment"]
        assert_same(tree["training"]["parameters"], run.states[tree["step"]]["parameters"])
