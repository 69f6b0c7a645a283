"""Real runs decided again: by their own policy, by another ladder, by other detectors."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.command import supervise
from support.training import Training, build, guard_of, healthy_batches, nan_batch, quiet

from supervisor import InputError
from supervisor.events import read_events
from supervisor.events.observation_file import read_observations
from supervisor.policy import load_policy
from supervisor.records import SignalName
from supervisor.replay import read_recording, replay, replay_run

BATCHES = healthy_batches(90)
LADDER: list[dict[str, Any]] = [
    {"action": "skip_batch", "attempts": 2},
    {"action": "lower_lr", "attempts": 1, "restore_after_steps": 8},
    {"action": "reload_checkpoint", "attempts": 2, "data": "replay", "limit": {"uses": 3}},
    {"action": "reinitialize", "attempts": 1, "modules": ["outer"]},
]
POLICY = quiet(
    ladder=LADDER,
    snapshot={"every_steps": 5},
    checkpoint={"every_steps": 10},
    probation_steps=2,
    cooldown_steps=4,
    detect={"spike": {"window_updates": 16, "threshold": 30.0, "warmup_updates": 8}},
)


def run(run_dir: Path, bad: set[int], *, steps: int = 60, **options: Any) -> Training:
    """A run whose batches of these numbers hold a NaN."""
    training = build(scheduler="cosine")
    data = [nan_batch(batch) if number in bad else batch for number, batch in enumerate(BATCHES)]
    guard = guard_of(training, policy=options.pop("policy", POLICY), data=data, run_dir=run_dir, **options)
    guard.run(steps)
    guard.close()
    return training


def written(path: Path, **changes: Any) -> str:
    path.write_text(yaml.safe_dump({**POLICY, **changes}), encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("bad", [{12}, {12, 30}, set(range(12, 15)), set(range(12, 16)), set(range(12, 40)), set()])
def test_its_own_policy_decides_a_run_as_it_was(bad: set[int], tmp_path: Path) -> None:
    run(tmp_path / "run", bad)
    decided = [event for event in read_events(tmp_path / "run") if event.event == "decision"]
    again = replay_run(str(tmp_path / "run"), written(tmp_path / "p.yaml"))
    assert again.parting is None
    assert [
        (d.incident, d.rung, d.action, d.attempt, d.reason) for each in again.comparisons for d in each.replayed
    ] == [(e.incident, e.rung, e.action, e.attempt, e.reason) for e in decided]
    assert bool(decided) == bool(bad)


def test_batches_that_come_again_count_neither_now_nor_then(tmp_path: Path) -> None:
    back = [{"action": "reload_checkpoint", "attempts": 2, "data": "replay"}, {"action": "skip_batch"}]
    policy = {**POLICY, "ladder": back, "snapshot": {"every_steps": 20}, "cooldown_steps": 2}
    run(tmp_path / "run", {32}, policy=policy)
    (tmp_path / "p.yaml").write_text(yaml.safe_dump(policy), encoding="utf-8")
    assert len(read_recording(read_events(tmp_path / "run")).replayed) > policy["cooldown_steps"]
    again = replay_run(str(tmp_path / "run"), str(tmp_path / "p.yaml"))
    assert again.parting is None
    assert [each.replayed[-1].attempt for each in again.comparisons] == [1, 2, 1]


def test_a_run_resumed_after_its_halt_under_another_policy_comes_out_too(tmp_path: Path) -> None:
    run(tmp_path / "run", set(range(12, 40)))
    other = {**POLICY, "ladder": [{"action": "skip_batch", "attempts": 50}]}
    run(tmp_path / "run", set(range(12, 40)), policy=other, resume=True)
    (tmp_path / "p.yaml").write_text(yaml.safe_dump(other), encoding="utf-8")
    recording = read_recording(read_events(tmp_path / "run"))
    (resumed,) = recording.new_ladders
    again = replay_run(str(tmp_path / "run"), str(tmp_path / "p.yaml"))
    later = [each for each in again.comparisons if each.update >= resumed]
    assert later
    assert all(each.same for each in later)


def test_a_shorter_ladder_halts_where_it_would_have(tmp_path: Path) -> None:
    run(tmp_path / "run", {12, 13, 14, 30})
    again = replay_run(str(tmp_path / "run"), written(tmp_path / "p.yaml", ladder=LADDER[:1]))
    assert again.parting is not None
    assert (again.parting.update, again.halted_at) == (14, 14)
    assert [each.replayed == () for each in again.comparisons if each.update > 14] == [True]


def test_observations_give_every_finding_again(tmp_path: Path) -> None:
    run(tmp_path / "run", {12, 13, 14, 15, 30}, record_observations=True)
    recording, policy = read_recording(read_events(tmp_path / "run")), load_policy(tmp_path / "run" / "policy.yaml")
    observations = read_observations(tmp_path / "run")
    assert observations is not None
    assert len(observations) == recording.updates
    assert math.isnan(observations[12].loss)
    assert replay(recording, policy, policy, observations).parting is None


def test_other_detectors_find_other_updates(tmp_path: Path) -> None:
    detect = {"spike": {"window_updates": 16, "threshold": 0.01, "margin": 1.0, "warmup_updates": 8}}
    path = written(tmp_path / "p.yaml", detect=detect)
    run(tmp_path / "run", {12}, record_observations=True)
    again = replay_run(str(tmp_path / "run"), path)
    found = {name for each in again.comparisons for name in each.replayed_signals}
    assert found & {SignalName.LOSS_SPIKE, SignalName.GRADIENT_SPIKE}
    run(tmp_path / "without", {12})
    with pytest.raises(InputError, match="observations: true"):
        replay_run(str(tmp_path / "without"), path)


def test_the_command_shows_where_two_policies_part(tmp_path: Path) -> None:
    run(tmp_path / "run", {12, 13, 14, 30})
    written(tmp_path / "short.yaml", ladder=LADDER[:1])
    shown = supervise("replay", "run", "--policy", "short.yaml", cwd=tmp_path)
    assert shown.returncode == 0, shown.stderr
    assert "They part at update 14" in shown.stdout
    assert "halts at update 14" in shown.stdout
    plain = json.loads(supervise("replay", "run", "--policy", "short.yaml", "--json", cwd=tmp_path).stdout)
    assert (plain["same"], plain["parts_at_update"], plain["halted_at_update"]) == (False, 14, 14)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere", "--policy", "p.yaml"], "nowhere: no such run directory"),
        (["run", "--policy", "nothing.yaml"], "nothing.yaml"),
        (["run", "--policy", "bad.yaml"], "bad.yaml:1: laddder"),
    ],
)
def test_bad_input_is_told_in_a_line(arguments: list[str], said: str, tmp_path: Path) -> None:
    run(tmp_path / "run", {12}, steps=15)
    (tmp_path / "bad.yaml").write_text("laddder: []\n", encoding="utf-8")
    written(tmp_path / "p.yaml")
    done = supervise("replay", *arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
