"""What may be written as the reaction to a signal or a cause."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from supervisor.errors import InputError
from supervisor.policy import OBSERVABLE_SIGNALS, Reaction, Reactions, load_policy
from supervisor.records import ActionName, CauseKind, SignalName


def test_every_signal_and_every_cause_has_a_reaction() -> None:
    # An odd update only asks for an experiment, and these two findings about the set-up never act alone.
    alone = {"odd_update", "initial_scale", "dead_units"}
    assert set(Reactions.model_fields) == {each.value for each in (*SignalName, *CauseKind)} - alone
    assert Reactions().of(SignalName.ODD_UPDATE) is Reaction.OBSERVE


@pytest.mark.parametrize("reaction", Reaction)
def test_a_reaction_is_an_action_or_one_of_two_words(reaction: Reaction) -> None:
    if reaction in (Reaction.OBSERVE, Reaction.RETRY):
        assert reaction.action is None
    else:
        assert reaction.action is ActionName(reaction.value)


def test_what_is_not_written_keeps_its_default() -> None:
    reactions = Reactions(divergence=None, loss_spike=Reaction.HALT)
    assert reactions.of(SignalName.DIVERGENCE) is None
    assert reactions.of(SignalName.LOSS_SPIKE) is Reaction.HALT
    assert reactions.of(SignalName.NONFINITE_PARAMETER) is Reaction.RELOAD_CHECKPOINT
    assert reactions.of(CauseKind.POISONED_PARAMETER) is Reaction.RELOAD_CHECKPOINT


@pytest.mark.parametrize("name", Reactions.model_fields)
def test_retry_is_for_what_cannot_be_reproduced(name: str) -> None:
    if name == CauseKind.NOT_REPRODUCIBLE:
        assert Reactions.model_validate({name: "retry"}).of(CauseKind.NOT_REPRODUCIBLE) is Reaction.RETRY
    else:
        with pytest.raises(ValidationError, match=f"{name} would only come again"):
            Reactions.model_validate({name: "retry"})


def test_the_observable_signals_are_those_of_finite_steps() -> None:
    assert {signal.value for signal in OBSERVABLE_SIGNALS} == {
        "loss_spike",
        "gradient_spike",
        "divergence",
        "sanitized_values",
        "not_learning",
    }


@pytest.mark.parametrize("signal", ["loss_spike", "gradient_spike", "divergence", "sanitized_values", "not_learning"])
def test_finite_signals_may_be_observed(signal: str) -> None:
    assert load_policy({"reactions": {signal: "observe"}}).observes(SignalName(signal))


@pytest.mark.parametrize(
    "signal",
    sorted(name for name in SignalName if name in Reactions.model_fields and name not in OBSERVABLE_SIGNALS),
)
def test_other_signals_may_not(signal: str) -> None:
    with pytest.raises(InputError, match=f"policy: reactions.{signal}: .*cannot be merely observed"):
        load_policy({"reactions": {signal: "observe"}})
