"""The names by which logs and policies call what is found and what is done."""

from __future__ import annotations

from supervisor.names import ActionName, Outcome, SignalName


def test_signals_are_named_in_the_order_of_the_contract() -> None:
    assert list(SignalName) == [
        "step_exception",
        "nonfinite_optimizer_state",
        "nonfinite_parameter",
        "nonfinite_buffer",
        "nonfinite_loss",
        "nonfinite_gradient",
        "gradient_overflow",
        "divergence",
        "loss_spike",
        "gradient_spike",
        "sanitized_values",
        "odd_update",
        "not_learning",
        "dead_units",
        "initial_scale",
    ]


def test_actions_and_outcomes_are_spelt_as_policies_and_logs_spell_them() -> None:
    assert list(ActionName) == ["skip_batch", "lower_lr", "reload_checkpoint", "try_cures", "reinitialize", "halt"]
    assert list(Outcome) == ["open", "recovered", "halted"]
