"""One update as one value."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

import pytest

from supervisor.records import Observation
from supervisor.training.rng import capture_rng
from supervisor.training.state import VolatileState
from supervisor.update import Attempt, Phase, Place, Raised

PLACE = Place(step=1, update=2, replayed=False)


def attempt() -> Attempt:
    return Attempt(PLACE, (1,), VolatileState({}, {}, {}, capture_rng(), ()), started=0.5)


def test_it_begins_with_nothing_measured_nothing_found_and_nothing_applied() -> None:
    begun = attempt()
    assert (begun.phase, begun.observation, begun.raised, begun.signals) == (Phase.BEGUN, None, None, ())
    assert begun.undone
    assert not begun.drawn


def test_what_it_saw_can_be_asked_for_once_it_was_measured() -> None:
    begun = attempt()
    with pytest.raises(RuntimeError, match="not measured yet"):
        _ = begun.seen
    begun.observation = Observation(1, 2, 0.5, 1.5)
    assert begun.seen is begun.observation


def test_two_attempts_are_never_the_same() -> None:
    """Their batches are tensors, which cannot be compared as a whole."""
    one = attempt()
    assert one == one
    assert one != attempt()


def test_an_exception_stays_as_it_is() -> None:
    raised = Raised("KeyError", "KeyError: 'a'", None, None, "")
    with pytest.raises(FrozenInstanceError):
        raised.where = "a.py:3"  # type: ignore[misc]
