"""What people write to switch a section off, and the one thing that does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from supervisor.config.switching_off import instead_of_switch, instead_of_value, is_switch, may_be_null
from supervisor.errors import InputError
from supervisor.job import load_job
from supervisor.policy import RecoveryPolicy, load_policy
from supervisor.policy.detection import Detection

SECTIONS = [
    *((name, (name,)) for name, field in RecoveryPolicy.model_fields.items() if may_be_null(field)),
    *((name, ("detect", name)) for name, field in Detection.model_fields.items() if may_be_null(field)),
]


def said(value: dict[str, Any]) -> str:
    with pytest.raises(InputError) as caught:
        load_policy(value)
    return str(caught.value)


@pytest.mark.parametrize("off", [False, "off", "none", [], {"enabled": False}], ids=str)
@pytest.mark.parametrize(("name", "path"), SECTIONS, ids=[name for name, _ in SECTIONS])
def test_every_section_that_may_be_null_says_so_where_it_is_to_be_switched_off(
    name: str, path: tuple[str, ...], off: Any
) -> None:
    value = {path[0]: off} if len(path) == 1 else {path[0]: {path[1]: off}}
    text = said(value)
    assert f"write `{name}: null` to switch it off" in text
    assert "diagnose" not in text


def test_there_are_such_sections() -> None:
    assert {name for name, _ in SECTIONS} == {"gradient_clip", "experiments", "spike", "drift", "weights", "headroom"}


def test_a_reaction_is_not_advised_to_move_to_a_rung_that_would_refuse_it() -> None:
    assert "reactions.data: no such key: remove it, or write one of: backward_only" in said(
        {"reactions": {"data": "skip_batch"}}
    )
    assert "data: no such key: write it in a rung of the `ladder`" in said({"data": "replay"})


def test_a_flag_that_switches_off_is_told_the_same(tmp_path: Path) -> None:
    job = tmp_path / "job.yaml"
    job.write_text("version: 1\nname: a\ntrainer: m:T\nsteps: 5\n", encoding="utf-8")
    with pytest.raises(InputError, match="write `experiments: null` to switch it off"):
        load_job(str(job), overrides=["policy.experiments=false"])


def test_the_parts_by_themselves() -> None:
    fields = RecoveryPolicy.model_fields
    assert is_switch("Enabled")
    assert not is_switch("keep")
    assert instead_of_value("snapshot", False, fields["snapshot"], (), " (keep)") == "write keys and values (keep)"
    assert instead_of_switch("snapshot", fields["snapshot"], ("keep",)) == "remove it, or write one of: keep"
