"""What a policy means: its defaults, how a partial one is filled in, and where a signal enters the ladder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from supervisor.errors import InputError
from supervisor.policy import (
    RecoveryPolicy,
    SkipBatchRung,
    SpikeDetection,
    load_policy,
)
from supervisor.records import ActionName, SignalName

CONTRACT = """
version: 1
detect:
  state_every_steps: 10
  spike: {window_updates: 128, threshold: 3.5, margin: 2.5, warmup_updates: 32}
  drift: {block_updates: 24, rises: 4, factor: 2.0, threshold: 2.0}
  weights: {fall: 0.35, window_updates: 20, warmup_updates: 60}
gradient_clip: null
ladder:
  - {action: skip_batch, attempts: 3, limit: {uses: 100, window_updates: 1000}}
  - {action: lower_lr, attempts: 2, factor: 0.5, restore_after_steps: 200,
     limit: {uses: 6, window_updates: 2000}}
  - {action: reload_checkpoint, attempts: 2, data: advance, limit: {uses: 4, window_updates: 2000}}
  - {action: try_cures, attempts: 1, steps: 40, probe_batches: 8, improve: 0.1, tolerance: 0.1,
     limit: {uses: 2, window_updates: 5000},
     cures: [keep, {clip: 1.0}, {lr: 0.1}, {lr: 0.01}, {lr: 0.001}, {lr: 10}, {momentum: 0.9}, {eps: 1.0e-8},
             reinitialize_flagged, {reinitialize_flagged: true, clip: 1.0}, {clip: 1.0, lr: 0.1},
             {clip: 1.0, lr: 0.01}, {eps: 1.0e-4}]}
  - {action: reinitialize, attempts: 1, modules: auto, method: orthogonal,
     limit: {uses: 1, window_updates: 5000}}
  - {action: halt}
reactions:
  nonfinite_parameter: reload_checkpoint
  nonfinite_optimizer_state: reload_checkpoint
  divergence: reload_checkpoint
  sanitized_values: observe
  not_learning: try_cures
cooldown_steps: 20
checkpoint: {every_steps: 200, keep: 3}
snapshot: {every_steps: 20, keep: 3}
probation_steps: 20
restart: {max_restarts: 5, window_seconds: 600, backoff_initial_seconds: 1, backoff_max_seconds: 60,
          startup_timeout_seconds: 300, stall_timeout_seconds: 300}
"""


def test_the_built_in_policy_is_the_contract(tmp_path: Path) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text(CONTRACT)
    assert load_policy(str(file)) == RecoveryPolicy() == load_policy(None) == load_policy({})


def test_it_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        RecoveryPolicy().cooldown_steps = 3  # type: ignore[misc]


def test_what_is_not_written_keeps_its_default() -> None:
    policy = load_policy({"detect": {"state_every_steps": 5}, "restart": {"max_restarts": 0}})
    assert policy.detect.spike == SpikeDetection()
    assert policy.restart.window_seconds == 600
    assert policy.restart.max_restarts == 0


def test_null_turns_the_spike_detector_and_a_cheap_rungs_limit_off() -> None:
    policy = load_policy({"detect": {"spike": None}, "ladder": [{"action": "skip_batch", "limit": None}]})
    assert policy.detect.spike is None
    rung = policy.ladder[0]
    assert isinstance(rung, SkipBatchRung)
    assert rung.limit is None


@pytest.mark.parametrize("ladder", [[], [{"action": "skip_batch"}], [{"action": "skip_batch"}, {"action": "halt"}]])
def test_every_ladder_ends_in_one_halt(ladder: list[dict[str, Any]]) -> None:
    actions = [rung.action for rung in load_policy({"ladder": ladder}).ladder]
    assert actions[-1] is ActionName.HALT
    assert actions.count(ActionName.HALT) == 1


def test_signals_enter_at_the_rung_their_reaction_names() -> None:
    policy = RecoveryPolicy()
    assert policy.reaction_rung(SignalName.NONFINITE_PARAMETER) == 2
    assert policy.reaction_rung(SignalName.DIVERGENCE) == 2
    assert policy.reaction_rung(SignalName.NONFINITE_LOSS) == 0
    assert policy.observes(SignalName.SANITIZED_VALUES)
    assert not policy.observes(SignalName.LOSS_SPIKE)


def test_written_reactions_are_merged_over_the_defaults() -> None:
    policy = load_policy({"reactions": {"divergence": None, "loss_spike": "halt"}})
    assert policy.reaction_rung(SignalName.DIVERGENCE) == 0
    assert policy.reaction_rung(SignalName.LOSS_SPIKE) == 5
    assert policy.reaction_rung(SignalName.NONFINITE_OPTIMIZER_STATE) == 2


def test_a_reaction_means_the_first_rung_with_its_action() -> None:
    ladder = [{"action": "skip_batch"}, {"action": "lower_lr"}, {"action": "lower_lr", "factor": 0.1}]
    policy = load_policy({"ladder": ladder, "reactions": {"loss_spike": "lower_lr"}})
    assert policy.reaction_rung(SignalName.LOSS_SPIKE) == 1


def test_a_default_reaction_to_a_missing_rung_does_not_apply() -> None:
    policy = load_policy({"ladder": [{"action": "skip_batch"}]})
    assert policy.reactions.nonfinite_parameter is None
    assert policy.reaction_rung(SignalName.NONFINITE_PARAMETER) == 0
    assert policy.observes(SignalName.SANITIZED_VALUES)


@pytest.mark.parametrize("wrong", [True, "20", 20.0, None, [20], 10**400])
def test_counts_are_strict(wrong: Any) -> None:
    with pytest.raises(InputError, match="policy: cooldown_steps: "):
        load_policy({"cooldown_steps": wrong})


@pytest.mark.parametrize("wrong", [True, "20", None, float("nan"), float("inf"), 10**400])
def test_seconds_are_strict(wrong: Any) -> None:
    with pytest.raises(InputError, match=r"policy: restart\.stall_timeout_seconds: "):
        load_policy({"restart": {"stall_timeout_seconds": wrong}})


@pytest.mark.parametrize("seconds", [0.25, 3, 1e3])
def test_seconds_may_be_fractions_or_whole(seconds: float) -> None:
    assert load_policy({"restart": {"stall_timeout_seconds": seconds}}).restart.stall_timeout_seconds == seconds
