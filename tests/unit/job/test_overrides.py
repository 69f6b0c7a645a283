"""`--set a.b=value`: what it reaches, how values are read, and how its mistakes are named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from supervisor.config.origins import Origins
from supervisor.config.yaml_values import Document
from supervisor.errors import InputError
from supervisor.job import ResolvedJob, load_job
from supervisor.job.overrides import apply_overrides, parse_override
from supervisor.policy import GradientClip, SkipBatchRung, SpikeDetection
from supervisor.records import ActionName, SignalName

JOB = """
trainer: mine:Trainer
steps: 5
config: {width: 8, layers: [{size: 1}, {size: 2}], 7: x}
policy: policy.yaml
"""


@pytest.fixture(autouse=True)
def _job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("job.yaml").write_text(JOB)
    Path("policy.yaml").write_text("version: 1\ndetect: {spike: null}\n")


def job_with(*overrides: str) -> ResolvedJob:
    return load_job("job.yaml", overrides=overrides)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 1e-3),
        ("5", 5),
        ("true", True),
        ("yes", "yes"),
        ("null", None),
        ("", None),
        ("'5'", "5"),
        ("[1, a]", [1, "a"]),
        ("{a: {b: 1}}", {"a": {"b": 1}}),
        ("a=b", "a=b"),
        ("two words", "two words"),
    ],
)
def test_values_are_yaml(text: str, value: Any) -> None:
    config = job_with(f"config.width={text}").job.config
    assert config["width"] == value
    assert type(config["width"]) is type(value)


def test_config_grows_new_keys() -> None:
    assert job_with("config.new.deep.key=1").job.config["new"] == {"deep": {"key": 1}}


def test_lists_are_addressed_by_number_and_so_are_numeric_keys() -> None:
    config = job_with("config.layers.1.size=9", "config.7=y").job.config
    assert config["layers"] == [{"size": 1}, {"size": 9}]
    assert config[7] == "y"
    assert "7" not in config


def test_the_last_one_wins() -> None:
    assert job_with("steps=6", "steps=7").job.steps == 7


def test_the_job_file_is_not_touched() -> None:
    job_with("config.width=9", "policy.cooldown_steps=3")
    assert Path("job.yaml").read_text() == JOB


def test_policy_keys_reach_the_resolved_policy() -> None:
    policy = job_with(
        "policy.cooldown_steps=5",
        "policy.ladder.0.attempts=2",
        "policy.gradient_clip.max_norm=2.5",
        "policy.detect.spike.threshold=3",
        "policy.reactions.loss_spike=halt",
    ).policy
    assert policy.cooldown_steps == 5
    assert policy.ladder[0] == SkipBatchRung(attempts=2)
    assert policy.gradient_clip == GradientClip(max_norm=2.5)
    assert policy.detect.spike == SpikeDetection(threshold=3)
    assert policy.reaction_rung(SignalName.LOSS_SPIKE) == 5
    assert policy.reaction_rung(SignalName.DIVERGENCE) == 2


def test_default_reactions_adapt_to_a_new_ladder() -> None:
    policy = job_with("policy.ladder=[{action: skip_batch}]").policy
    assert [rung.action for rung in policy.ladder] == [ActionName.SKIP_BATCH, ActionName.HALT]
    assert policy.reaction_rung(SignalName.DIVERGENCE) == 0


def test_written_reactions_do_not() -> None:
    Path("policy.yaml").write_text("version: 1\nreactions:\n  divergence: reload_checkpoint\n")
    with pytest.raises(InputError) as caught:
        job_with("policy.ladder=[{action: skip_batch}]")
    assert str(caught.value).startswith("policy.yaml:3: policy.reactions.divergence: the ladder has no")


def test_the_policy_file_itself_can_be_named() -> None:
    Path("other.yaml").write_text("cooldown_steps: 9\n")
    policy = job_with("policy=other.yaml", "policy.probation_steps=1").policy
    assert (policy.cooldown_steps, policy.probation_steps) == (9, 1)


def test_what_is_overridden_stays_as_it_was() -> None:
    values: dict[str, Any] = {"config": {"layers": [{"size": 1}]}}
    document = Document(values, Origins("job"))
    changed, _, problems = apply_overrides(document, [parse_override("config.layers.0.size=2")], lambda _: (None, []))
    assert not problems
    assert changed.value == {"config": {"layers": [{"size": 2}]}}
    assert values == {"config": {"layers": [{"size": 1}]}}


MISTAKES = {
    "no equals sign": ("steps", "has no `=`", "write `--set steps=value`"),
    "no key": ("=5", "has an empty part", "write keys with dots between"),
    "empty part": ("config..x=5", "has an empty part", "write keys with dots between"),
    "open bracket": ("config.x=[1", "opens a `[` or `{`", "close it"),
    "two keys": ("config.x=a: b", "`a: b` is not one value", "put it in quotes"),
    "comment": ("config.x=#fff", "`#fff` is a comment in YAML", "put it in quotes"),
    "glob": ("config.x=*gru*", "is not YAML", "put text in quotes"),
    "half a character": ("config.\udcff=1", "is not UTF-8 text", "write plain characters"),
    "duplicate": ("config.x={a: 1, a: 2}", "is written twice", "keep one"),
    "object tag": ("config.x=!!python/name:os.system", "the tag `!!python/name:os.system`", "plain values"),
    "unknown job key": ("stepz=5", "no such key", "write `steps`"),
    "unknown job section": ("confg.width=5", "no such key", "write `config`"),
    "unknown policy key": ("policy.cooldwon_steps=5", "no such key", "write `cooldown_steps`"),
    "unknown rung key": ("policy.ladder.0.attemts=5", "no such key", "write `attempts`"),
    "too small": ("policy.cooldown_steps=0", "0 is too small", "write `cooldown_steps: 1` or more"),
    "boolean": ("seed=true", "true is not a whole number", "write a whole number from 0 to 4294967295"),
    "no such rung": (
        "policy.ladder.6.attempts=1",
        "`policy.ladder` has no item `6`",
        "write a number from 0 to 5",
    ),
    "negative rung": ("policy.ladder.-1.attempts=1", "`policy.ladder` has no item `-1`", "from 0 to 5"),
    "below a number": ("steps.x=5", "`steps` is 5, not a mapping", "write `--set steps=...`"),
    "conflict": ("policy.detect.spike.window_updates=4", "a warm-up of 32 never ends", "`warmup_updates: 4`"),
    "config that is a number": ("config=5", "5 is not a mapping", "write keys and values"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_the_mistake_is_named(name: str) -> None:
    text, what, mend = MISTAKES[name]
    with pytest.raises(InputError) as caught:
        job_with(text)
    (problem,) = caught.value.problems
    assert problem.startswith(f"--set {text}: ".replace("\udcff", "\\udcff"))
    assert what in problem
    assert mend in problem


def test_all_mistakes_come_at_once() -> None:
    with pytest.raises(InputError) as caught:
        job_with("stepz=1", "policy.cooldown_steps=0", "steps.x=1", "seed=-1")
    assert len(caught.value.problems) == 4
