"""Any policy's resolved form reads back to it, and any input is either a policy or an InputError."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from supervisor.config.yaml_source import parse_yaml
from supervisor.config.yaml_values import plain_yaml
from supervisor.errors import InputError
from supervisor.policy import RecoveryPolicy, load_policy, policy_json_schema, resolved_yaml
from supervisor.policy.load import check_policy
from supervisor.policy.reactions import OBSERVABLE_SIGNALS, Reactions
from supervisor.records import ActionName, SignalName

counts = st.integers(1, 10_000)
seconds = st.floats(0.001, 1e6)


@st.composite
def limits(draw: st.DrawFn) -> dict[str, int]:
    uses = draw(st.integers(1, 1000))
    return {"uses": uses, "window_updates": draw(st.integers(uses, 10**9))}


def rungs() -> st.SearchStrategy[dict[str, Any]]:
    cheap = {"attempts": counts, "limit": st.none() | limits()}
    dear = {"attempts": counts, "limit": limits()}
    globs = st.lists(st.text(min_size=1, max_size=8).filter(lambda text: text.strip() and text != "auto"), min_size=1)
    return st.one_of(
        st.fixed_dictionaries({"action": st.just("skip_batch")}, optional=cheap),
        st.fixed_dictionaries(
            {"action": st.just("lower_lr")},
            optional={**cheap, "factor": st.floats(1e-6, 0.999), "restore_after_steps": counts},
        ),
        st.fixed_dictionaries(
            {"action": st.just("reload_checkpoint")},
            optional={**dear, "data": st.sampled_from(["advance", "replay"])},
        ),
        st.fixed_dictionaries(
            {"action": st.just("try_cures")},
            optional={
                **dear,
                "steps": st.integers(1, 100),
                "improve": st.floats(0, 0.9),
                "cures": st.lists(
                    st.sampled_from(["keep", "reinitialize_flagged", {"clip": 2.0}, {"lr": 0.5, "momentum": 0.0}]),
                    min_size=1,
                    max_size=5,
                ),
            },
        ),
        st.fixed_dictionaries(
            {"action": st.just("reinitialize")},
            optional={
                **dear,
                "modules": st.just("auto") | globs,
                "method": st.sampled_from(["orthogonal", "xavier"]),
            },
        ),
    )


@st.composite
def policies(draw: st.DrawFn) -> dict[str, Any]:
    ladder = draw(st.lists(rungs(), max_size=5))
    present = sorted({rung["action"] for rung in ladder} | {"halt"})
    reactions = {
        signal.value: draw(st.sampled_from([None, *present, *(["observe"] if signal in OBSERVABLE_SIGNALS else [])]))
        for signal in draw(st.sets(st.sampled_from([each for each in SignalName if each in Reactions.model_fields])))
    }
    window = draw(st.integers(2, 1000))
    spike = {
        "window_updates": window,
        "warmup_updates": draw(st.integers(2, window)),
        "threshold": draw(seconds),
        "margin": draw(st.floats(1, 1e3)),
    }
    drift = {"block_updates": draw(st.integers(2, 100)), "rises": draw(st.integers(2, 9)), "factor": 1.5}
    weights = {"fall": draw(st.floats(0.01, 0.99)), "window_updates": draw(counts), "warmup_updates": 0}
    share, shown = draw(st.floats(0.1, 1)), draw(st.integers(10, 1000))
    in_a_row = draw(st.integers(1, 1000 if share == 1 else int(share * shown)))
    experiments = {
        "canary_batches": draw(st.integers(1, 9)),
        "suspect_score": draw(seconds),
        "bad_data": {"in_a_row": in_a_row, "share": share, "window_updates": shown},
        "shift": {"after_updates": draw(st.integers(1, in_a_row)), "then": draw(st.sampled_from(["accept", "halt"]))},
    }
    sections: dict[str, st.SearchStrategy[Any]] = {
        "version": st.just(1),
        "detect": st.fixed_dictionaries(
            {},
            optional={
                "state_every_steps": counts,
                "spike": st.sampled_from([None, spike]),
                "drift": st.sampled_from([None, drift]),
                "weights": st.sampled_from([None, weights]),
            },
        ),
        "experiments": st.sampled_from([None, {}, experiments]),
        "gradient_clip": st.none() | st.fixed_dictionaries({}, optional={"max_norm": seconds}),
        "cooldown_steps": counts,
        "checkpoint": st.fixed_dictionaries({}, optional={"every_steps": counts, "keep": counts}),
        "snapshot": st.fixed_dictionaries({}, optional={"every_steps": counts, "keep": st.integers(0, 9)}),
        "probation_steps": st.integers(0, 100),
        "restart": st.fixed_dictionaries(
            {},
            optional={
                "max_restarts": st.integers(0, 9),
                "window_seconds": seconds,
                "stall_timeout_seconds": seconds,
            },
        ),
    }
    written = draw(st.fixed_dictionaries({}, optional=sections))
    if written.get("detect", {}).get("spike", {}) is None:
        experiments.pop("suspect_score")
    if written.get("snapshot", {}).get("keep") == 0:
        experiments.pop("shift")
        experiments.pop("bad_data")
    return {**written, "ladder": ladder, "reactions": reactions}


@settings(deadline=None)
@given(policies())
def test_a_resolved_policy_reads_back_equal(values: dict[str, Any]) -> None:
    policy = load_policy(values)
    document = parse_yaml(resolved_yaml(policy), "resolved")
    again, problems = check_policy(document)
    assert not problems
    assert again == policy
    assert [policy.reaction_rung(signal) for signal in SignalName] == [
        again.reaction_rung(signal) for signal in SignalName
    ]


@settings(deadline=None)
@given(policies())
def test_what_is_written_as_yaml_means_the_same(values: dict[str, Any]) -> None:
    document = parse_yaml(plain_yaml(values), "file")
    assert document.value == values
    assert check_policy(document)[0] == load_policy(values)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from([*ActionName]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["action", "attempts", "limit", "uses", "modules", "spike", "keep", "x"]) | st.integers(),
            inner,
            max_size=3,
        )
    ),
    max_leaves=8,
)


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from([*RecoveryPolicy.model_fields, "ladders"]), anything, max_size=4))
def test_any_mapping_is_a_policy_or_named_mistakes(values: dict[str, Any]) -> None:
    problems: tuple[str, ...] = ()
    try:
        load_policy(values)
    except InputError as error:
        problems = error.problems
    for problem in problems:
        assert problem.startswith("policy: ")
        assert "nput should" not in problem
        assert "does not fit" not in problem


@settings(deadline=None)
@given(st.text(max_size=60) | st.text("{}[]:-&*!|>'\"%@# \n\tab1.<,?", max_size=60))
def test_any_text_is_a_document_or_named_mistakes(text: str) -> None:
    problems: list[str] = []
    try:
        problems += map(str, check_policy(parse_yaml(text, "file"))[1])
    except InputError as error:
        problems += error.problems
    assert all(problem.startswith("file:") for problem in problems)


def test_the_resolved_form_shows_what_was_filled_in() -> None:
    shown = yaml.safe_load(resolved_yaml(load_policy({"ladder": [{"action": "skip_batch"}]})))
    assert shown["ladder"][-1] == {"action": "halt"}
    assert shown["reactions"] == {"sanitized_values": "observe"}
    assert shown["restart"]["max_restarts"] == 5
    assert next(iter(shown["ladder"][0])) == "action"


SHIPPED = sorted((Path(__file__).parents[3] / "configs" / "policies").glob("*.yaml"))


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.stem)
def test_shipped_policies_load(file: Path) -> None:
    policy = load_policy(file)
    assert (policy == RecoveryPolicy()) == (file.stem == "default")


def test_three_policies_are_shipped() -> None:
    assert {file.stem for file in SHIPPED} >= {"default", "cautious", "aggressive"}


def test_the_schema_describes_every_key() -> None:
    schema = policy_json_schema()
    for name, section in {"policy": schema, **schema["$defs"]}.items():
        for key, entry in section.get("properties", {}).items():
            described = entry.get("description") or schema["$defs"].get(entry.get("$ref", "")[8:], {}).get(
                "description"
            )
            assert described or key == "action", f"{name}.{key}"
        assert section.get("additionalProperties", False) is False
    assert set(schema["properties"]) == set(RecoveryPolicy.model_fields)
