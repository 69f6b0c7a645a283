"""Planted causes, in five models: the kind and the names that the diagnosis gives them."""

from __future__ import annotations

import pytest
from support.planted import PLANTED, Planted, diagnose

from supervisor.records import CauseKind

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


@pytest.mark.parametrize("case", PLANTED, ids=lambda case: case.name.replace(" ", "_"))
def test_a_planted_cause_is_found_and_named(case: Planted) -> None:
    found = diagnose(case)
    names = {key: getattr(found, key) for key in case.names}
    assert (str(found.kind), names) == (case.kind, case.names), found.explanation


def test_enough_is_planted() -> None:
    assert len(PLANTED) >= 20
    assert len({case.build for case in PLANTED}) >= 4
    assert {case.kind for case in PLANTED} == {kind.value for kind in CauseKind}
    overflowing = {case.names["module"] for case in PLANTED if case.kind == "nonfinite_activation"}
    assert len(overflowing) >= 6
