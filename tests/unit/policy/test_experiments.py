"""The section `experiments`: on with its defaults, off with null, and no combination that allows nothing."""

from __future__ import annotations

from typing import Any

import pytest

from supervisor.errors import InputError
from supervisor.policy import Experiments, RecoveryPolicy, ShiftAnswer, load_policy


def experiments_of(**written: Any) -> Experiments:
    found = load_policy({"experiments": written}).experiments
    assert found is not None
    return found


def test_they_are_made_unless_they_are_turned_off() -> None:
    assert RecoveryPolicy().experiments == Experiments() == experiments_of()
    assert load_policy({"experiments": None}).experiments is None


def test_the_defaults_are_those_of_the_contract() -> None:
    default = Experiments()
    assert (default.canary_batches, default.harm_factor, default.least_harm) == (4, 1.6, 0.01)
    assert (default.suspect_score, default.max_share_of_passes) == (3.0, 0.01)
    bad = default.bad_data
    assert (bad.in_a_row, bad.share, bad.window_updates) == (50, 0.25, 200)
    assert (default.shift.after_updates, default.shift.then) == (12, ShiftAnswer.ACCEPT)


def test_what_is_written_changes_that_alone() -> None:
    written = experiments_of(canary_batches=2, shift={"then": "halt"})
    assert written.model_dump() == {
        **Experiments().model_dump(),
        "canary_batches": 2,
        "shift": {"after_updates": 12, "then": ShiftAnswer.HALT},
    }


@pytest.mark.parametrize(
    ("key", "wrong"),
    [
        ("canary_batches", 0),
        ("canary_batches", 1001),
        ("canary_batches", True),
        ("harm_factor", 1),
        ("harm_factor", float("inf")),
        ("harm_factor", "1.6"),
        ("least_harm", -0.1),
        ("least_harm", 1.5),
        ("suspect_score", 0),
        ("suspect_score", float("nan")),
        ("max_share_of_passes", 0),
        ("max_share_of_passes", 1.1),
        ("unheard_of", 1),
    ],
)
def test_what_is_out_of_bounds_is_refused_by_name(key: str, wrong: Any) -> None:
    with pytest.raises(InputError, match=f"experiments.{key}"):
        experiments_of(**{key: wrong})


@pytest.mark.parametrize(
    "bad_data", [{"in_a_row": 0}, {"share": 0}, {"share": 1.5}, {"window_updates": 0}, {"share": True}], ids=str
)
def test_so_are_bounds_on_bad_data(bad_data: dict[str, Any]) -> None:
    (key,) = bad_data
    with pytest.raises(InputError, match=f"experiments.bad_data.{key}"):
        experiments_of(bad_data=bad_data)


def test_a_share_that_allows_no_bad_batch_is_refused_with_the_mend() -> None:
    with pytest.raises(
        InputError, match=r"share of 0\.01 of 50 updates allows no bad batch.*write at least `share: 0.02`"
    ):
        experiments_of(bad_data={"share": 0.01, "window_updates": 50})
    assert experiments_of(bad_data={"share": 0.02, "window_updates": 50}).bad_data.share == 0.02


def test_a_change_of_the_data_is_accepted_or_halts() -> None:
    with pytest.raises(InputError, match=r"experiments\.shift\.then"):
        experiments_of(shift={"then": "skip"})
    with pytest.raises(InputError, match=r"experiments\.shift\.after_updates"):
        experiments_of(shift={"after_updates": 0})
