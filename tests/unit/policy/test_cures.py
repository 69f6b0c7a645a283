"""Cures and their rung, as a policy writes them."""

from __future__ import annotations

from typing import Any

import pytest

from supervisor.errors import InputError
from supervisor.policy import Cure, NamedCure, TryCuresRung, load_policy
from supervisor.policy.cures import DEFAULT_CURES, changes_of, label_of


def cures_of(*written: Any) -> tuple[Any, ...]:
    rung = load_policy({"ladder": [{"action": "try_cures", "cures": [*written]}]}).ladder[0]
    assert isinstance(rung, TryCuresRung)
    return rung.cures


def test_a_cure_is_a_word_or_what_it_changes() -> None:
    assert cures_of("keep", {"clip": 1}, "reinitialize_flagged", {"lr": 0.1, "momentum": 0.0}) == (
        NamedCure.KEEP,
        Cure(clip=1.0),
        NamedCure.REINITIALIZE_FLAGGED,
        Cure(lr=0.1, momentum=0.0),
    )


def test_keep_is_always_tried_and_first() -> None:
    assert cures_of({"clip": 1.0})[0] is NamedCure.KEEP
    assert cures_of({"clip": 1.0}, "keep") == (NamedCure.KEEP, Cure(clip=1.0))


@pytest.mark.parametrize(
    ("written", "mistake"),
    [
        ("kep", '"kep" is not one of its values: write `keep`'),
        ({}, "has no change in it: write `keep`"),
        ({"rate": 1}, "rate: no such key"),
        ({"clip": -1}, "clip: -1 is too small"),
        ({"momentum": 1.0}, "momentum: 1.0 is too large"),
        (5, "5 is not a mapping"),
    ],
)
def test_mistakes_are_named(written: Any, mistake: str) -> None:
    with pytest.raises(InputError, match=r"ladder\.0\.cures\.0") as caught:
        cures_of(written)
    assert mistake in str(caught.value)
    with pytest.raises(InputError, match="cures"):
        cures_of()


def test_what_a_cure_changes_and_how_it_is_named() -> None:
    assert changes_of(NamedCure.KEEP) is None
    assert changes_of(NamedCure.REINITIALIZE_FLAGGED) == Cure(reinitialize_flagged=True)
    cure = Cure(lr=0.1, clip=1.0, reinitialize_flagged=True)
    assert changes_of(cure) is cure
    assert label_of(cure) == "reinitialize_flagged + clip 1.0 + lr 0.1"
    assert len({label_of(each) for each in DEFAULT_CURES}) == len(DEFAULT_CURES)
    assert label_of(DEFAULT_CURES[0]) == "keep"


def test_only_what_is_written_is_written_out() -> None:
    assert Cure(clip=1.0).model_dump(mode="json") == {"clip": 1.0}


def test_a_rung_that_goes_back_has_a_limit() -> None:
    rung = TryCuresRung()
    assert (rung.steps, rung.probe_batches, rung.improve, rung.tolerance, rung.attempts) == (40, 8, 0.1, 0.1, 1)
    assert rung.limit.uses == 2
    with pytest.raises(InputError, match="limit"):
        load_policy({"ladder": [{"action": "try_cures", "limit": None}]})


def test_a_ladder_without_it_looks_for_nothing() -> None:
    policy = load_policy({"ladder": [{"action": "skip_batch"}]})
    assert policy.reactions.not_learning is None
