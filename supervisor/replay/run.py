"""From a run directory and a policy file to both decisions for each update."""

from __future__ import annotations

from pathlib import Path

from supervisor.errors import InputError
from supervisor.events import read_events
from supervisor.events.observation_file import OBSERVATIONS, read_observations
from supervisor.policy import RecoveryPolicy, load_policy
from supervisor.replay.recording import read_recording
from supervisor.replay.replay import Replayed, replay
from supervisor.run_layout import RunLayout

__all__ = ["replay_run"]


def replay_run(run_dir: str, policy: str) -> Replayed:
    """Decide the run in `run_dir` again by the policy in the file `policy`.

    Raises:
        InputError: one of them cannot be read, the run's own policy is missing, or the two policies detect
            differently and the run kept no observations.
    """
    run = read_recording(read_events(Path(run_dir)))
    written = RunLayout(Path(run_dir)).policy
    if not written.is_file():
        raise InputError(f"{written}: missing: without the policy that it ran by, a run cannot be decided again")
    before, now = load_policy(str(written)), load_policy(policy)
    if _detects_alike(before, now):
        return replay(run, before, now)
    observations = read_observations(Path(run_dir))
    if observations is None:
        raise InputError(
            f"{policy}: detect: differs from the run's own, and the run kept no {OBSERVATIONS}: "
            "write the same `detect`, or set `observations: true` in the job of the next run"
        )
    return replay(run, before, now, observations)


def _detects_alike(before: RecoveryPolicy, now: RecoveryPolicy) -> bool:
    # How often the state is checked decides what a run measures, not what a measurement means.
    alike = {"state_every_steps": before.detect.state_every_steps}
    return before.detect == now.detect.model_copy(update=alike)
