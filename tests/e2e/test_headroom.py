"""A forecast is the same whether the process was killed on the way or not, and whether it is made live or again."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.command import supervise
from support.runs import exits, named, steady_job

from supervisor.events.headroom_event import HeadroomEvent, describe_headroom
from supervisor.events.observation_file import read_observations
from supervisor.policy import load_policy
from supervisor.signals import Detectors

POLICY = {
    "detect": {
        "state_every_steps": 3,
        "spike": None,
        "headroom": {"window_updates": 24, "warmup_updates": 0, "factor": 1.5, "repeat_after_updates": 30},
    }
}


def forecasts(folder: Path, **config: object) -> list[tuple[object, ...]]:
    steady_job(folder, config=config, policy=POLICY, observations=True)
    done = supervise("run", "job.yaml", cwd=folder)
    assert done.returncode == 0, (done.stdout, done.stderr)
    return told(folder / "run")


def told(run: Path) -> list[tuple[object, ...]]:
    events: list[HeadroomEvent] = named(run, "headroom")
    values = ("step", "update", "quantity", "parameter", "value", "bound", "slope", "horizon", "others")
    return [tuple(getattr(event, name) for name in values) for event in events]


@pytest.mark.slow
def test_a_kill_on_the_way_changes_no_forecast(tmp_path: Path) -> None:
    expected = forecasts(tmp_path / "unbroken")
    assert len(expected) >= 2
    # Amid the window of the last one, and between two checkpoints.
    at = expected[-1][0]
    assert isinstance(at, int)
    assert forecasts(tmp_path / "killed", faults={"kill": at - 4}) == expected
    assert exits(tmp_path / "killed" / "run") == ["killed", "finished"]

    again = tmp_path / "unbroken" / "run"
    detectors, observations = Detectors(load_policy(str(again / "policy.yaml"))), read_observations(again)
    assert observations is not None
    made = []
    for update in sorted(observations):
        detectors.accept(observations[update])
        made += [(observations[update].step, update, each.quantity, each.value) for each in detectors.forecasts()]
    assert made == [(*each[:3], each[4]) for each in expected]

    (last, *_) = reversed(named(again, "headroom"))
    for command in ("status", "explain"):
        shown = " ".join(supervise(command, "run", cwd=tmp_path / "unbroken").stdout.split())
        assert f"step {last.step}: {describe_headroom(last)}" in shown
