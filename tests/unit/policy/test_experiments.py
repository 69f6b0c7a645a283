"""The section `experiments`: on with its defaults, off with null, and no combination that allows nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from supervisor.errors import InputError
from supervisor.policy import Experiments, RecoveryPolicy, ShiftAnswer, load_policy
from supervisor.policy.load import plain_policy

AT_ONCE = {"after_updates": 1}


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


@pytest.mark.parametrize(
    ("written", "said"),
    [
        (
            {"experiments": {"bad_data": {"in_a_row": 500, "share": 0.1, "window_updates": 20}, "shift": AT_ONCE}},
            "experiments.bad_data.in_a_row: 500 are never reached: a share of 0.1 of 20 halts after 2: "
            "write at most `in_a_row: 2`, or a larger `share` or `window_updates`",
        ),
        (
            {"experiments": {"bad_data": {"in_a_row": 51}}},
            "experiments.bad_data.in_a_row: 51 are never reached: a share of 0.25 of 200 halts after 50",
        ),
        (
            {"experiments": {"bad_data": {"in_a_row": 5}}},
            "experiments.bad_data.in_a_row: the run halts after 5 bad batches in a row, before 12 are asked whether "
            "they can be learnt: write at most `shift: {after_updates: 5}`, or at least `bad_data: {in_a_row: 12}`",
        ),
        ({"experiments": {"shift": {"after_updates": 60}}}, "experiments.shift.after_updates: the run halts after 50"),
        (
            {"experiments": {"suspect_score": 5.0}, "detect": {"spike": None}},
            "experiments.suspect_score: nothing is given a score where `detect.spike` is null: remove `suspect_score`",
        ),
        (
            {"experiments": {"shift": {"then": "halt"}}, "snapshot": {"keep": 0}},
            "experiments.shift.then: without snapshots there is no state from before a change of the data to halt in: "
            "write `snapshot: {keep: 1}` or more, or `then: accept`",
        ),
    ],
)
def test_keys_of_which_one_makes_the_other_void_are_refused_with_the_mend(written: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError) as caught:
        load_policy(written)
    assert said in str(caught.value)
    assert str(caught.value).count("\n") == 0


def test_the_line_of_such_a_key_is_named(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text("version: 1\ndetect:\n  spike: null\nexperiments:\n  suspect_score: 4.0\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"policy.yaml:5: experiments.suspect_score: nothing is given a score"):
        load_policy(path)


@pytest.mark.parametrize(
    "written",
    [
        {"experiments": {"bad_data": {"share": 0.1}}},
        {"experiments": {"bad_data": {"in_a_row": 500, "share": 1.0}}},
        {"experiments": {"bad_data": {"in_a_row": 5}, "shift": {"after_updates": 5}}},
        {"detect": {"spike": None}},
        {"snapshot": {"keep": 0}},
    ],
)
def test_a_default_beside_them_is_no_contradiction_and_reads_back(written: dict[str, Any]) -> None:
    policy = load_policy(written)
    assert load_policy(plain_policy(policy)) == policy
