"""Every mistake in a policy file is named with its line, its key and its mend."""

from __future__ import annotations

from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from supervisor.errors import InputError
from supervisor.policy import RecoveryPolicy, load_policy

MISTAKES = {
    "unknown key": (
        "version: 1\ncooldwon_steps: 5\n",
        2,
        "cooldwon_steps: no such key",
        "write `cooldown_steps`",
    ),
    "unknown deep key": (
        "detect:\n  spike:\n    treshold: 3.0\n",
        3,
        "detect.spike.treshold: no such key",
        "write `threshold`",
    ),
    "key of another section": (
        "max_norm: 1.0\n",
        1,
        "max_norm: no such key",
        "write it under `gradient_clip`",
    ),
    "key of a rung": ("factor: 0.5\n", 1, "factor: no such key", "write it in a rung of the `ladder`"),
    "key unlike any other": (
        "xyzzy: 1\n",
        1,
        "xyzzy: no such key",
        "remove it, or write one of: checkpoint, ",
    ),
    "version": ("version: 2\n", 1, "version: 2 is not a version of this format", "write `version: 1`"),
    "boolean for a number": (
        "probation_steps: true\n",
        1,
        "probation_steps: true is not a whole number",
        "write a whole number from 0 to 1000000",
    ),
    "quoted number": (
        'version: 1\n\ncooldown_steps: "20"\n',
        3,
        'cooldown_steps: "20" is text, not a whole number',
        "without quotes",
    ),
    "YAML 1.1 boolean": ("cooldown_steps: yes\n", 1, 'cooldown_steps: "yes" is text', "write a whole number"),
    "fraction for a count": (
        "snapshot: {keep: 1.5}\n",
        1,
        "snapshot.keep: 1.5 is not a whole number",
        "write a whole number from 0 to 1000",
    ),
    "too small": (
        "ladder:\n  - action: skip_batch\n    attempts: 0\n",
        3,
        "ladder.0.attempts: 0 is too small",
        "write `attempts: 1` or more",
    ),
    "too large": (
        "checkpoint:\n  keep: 10001\n",
        2,
        "checkpoint.keep: 10001 is too large",
        "write `keep: 10000` or less",
    ),
    "factor of one": (
        "ladder:\n- action: lower_lr\n  factor: 1\n",
        3,
        "ladder.0.factor: 1 is too large",
        "write a number below 1",
    ),
    "infinite seconds": (
        "restart:\n  max_restarts: 1\n  window_seconds: .inf\n",
        3,
        "restart.window_seconds: inf is not finite",
        "write a number above 0",
    ),
    "section left empty": (
        "version: 1\ndetect:\n# state_every_steps: 5\n",
        2,
        "detect: is empty",
        "write its keys below it (state_every_steps, spike, drift, weights, headroom), or leave `detect` out",
    ),
    "a fall of everything": (
        "detect: {weights: {fall: 1}}\n",
        1,
        "detect.weights.fall: 1 is too large",
        "write a number below 1",
    ),
    "a climb that is none": (
        "detect:\n  drift: {factor: 1.0}\n",
        2,
        "detect.drift.factor: 1.0 is too small",
        "write a number above 1",
    ),
    "a margin that is a word": (
        "detect:\n  spike: {margin: wide}\n",
        2,
        "detect.spike.margin",
        "number",
    ),
    "section that is a number": ("snapshot: 5\n", 1, "snapshot: 5 is not a mapping", "(every_steps, keep)"),
    "ladder that is a mapping": (
        "ladder: {action: halt}\n",
        1,
        "ladder: a mapping is not a list",
        "each after a `- `",
    ),
    "unknown action": (
        "ladder:\n  - {action: skip_batch}\n  - {action: lower_learning_rate}\n",
        3,
        'ladder.1.action: "lower_learning_rate" is not an action',
        "one of: skip_batch, lower_lr, reload_checkpoint, try_cures, reinitialize, halt",
    ),
    "rung without action": (
        "ladder:\n  - attempts: 3\n",
        2,
        "ladder.0: has no action",
        "write `action:` with one of",
    ),
    "rung that is a word": (
        "ladder:\n  - halt\n",
        2,
        'ladder.0: "halt" is text, not a rung',
        "write {action: halt}",
    ),
    "key of another rung": (
        "ladder:\n  - action: skip_batch\n    factor: 0.5\n",
        3,
        "ladder.0.factor: no such key",
        "remove it, or write one of: action, attempts, limit",
    ),
    "halt that is not last": (
        "ladder:\n  - action: halt\n  - action: skip_batch\n",
        2,
        "ladder.0: the rungs after `halt` can never be reached",
        "write `halt` as the last rung",
    ),
    "reaction to a missing rung": (
        "ladder:\n  - action: skip_batch\nreactions:\n  divergence: reload_checkpoint\n",
        4,
        "reactions.divergence: the ladder has no reload_checkpoint rung",
        "write one of: skip_batch, halt; or add `action: reload_checkpoint` to the ladder",
    ),
    "observing a non-finite loss": (
        "reactions:\n  loss_spike: observe\n  nonfinite_loss: observe\n",
        3,
        "reactions.nonfinite_loss: nonfinite_loss cannot be merely observed",
        "write the action of a rung",
    ),
    "unknown reaction": (
        "reactions:\n  loss_spike: skip\n",
        2,
        'reactions.loss_spike: "skip"',
        "write one of: skip_batch",
    ),
    "unknown signal": (
        "reactions:\n  nan_loss: halt\n",
        2,
        "reactions.nan_loss: no such key",
        "write one of: backward_only, ",
    ),
    "warm-up beyond the window": (
        "detect:\n  spike:\n    window_updates: 16\n",
        3,
        "detect.spike.window_updates: a warm-up of 32 never ends in a window of 16",
        "write at most `warmup_updates: 16`",
    ),
    "first pause beyond the longest": (
        "restart:\n  backoff_initial_seconds: 100\n",
        2,
        "restart.backoff_initial_seconds: the first pause (100 s) is longer than the longest one (60 s)",
        "write at most `backoff_initial_seconds: 60`",
    ),
    "no modules": (
        "ladder:\n  - action: reinitialize\n    modules: []\n",
        3,
        "ladder.0.modules: names no modules",
        "write `auto`",
    ),
    "auto beside globs": (
        "ladder: [{action: reinitialize, modules: [auto, x]}]\n",
        1,
        "ladder.0.modules",
        "write `auto`",
    ),
    "duplicate key": (
        "cooldown_steps: 5\nversion: 1\ncooldown_steps: 6\n",
        3,
        "cooldown_steps: is written twice (first in line 1)",
        "keep one of the two",
    ),
    "duplicate deep key": (
        "ladder:\n  - action: skip_batch\n    attempts: 1\n    attempts: 1\n",
        4,
        "ladder.0.attempts: is written twice",
        "keep one of the two",
    ),
    "object tag": (
        "version: 1\nrestart: !!python/object/apply:os.getcwd []\n",
        2,
        "restart: the tag `!!python/object/apply:os.getcwd` is not allowed",
        "write plain values",
    ),
    "number as a key": (
        "reactions:\n  5: halt\n",
        2,
        "reactions.5: 5 is a number, not a name",
        "write a name",
    ),
    "list as a key": ("version: 1\n? [a]\n: 1\n", 2, "`a list or mapping` cannot be a key", "write a name"),
    "alias to itself": (
        "ladder: &a\n  - *a\n",
        2,
        "ladder.0: holds itself through an alias",
        "write the value out",
    ),
    "error in an alias": (
        "ladder:\n  - &skip {action: skip_batch, attempts: -1}\n  - *skip\n",
        2,
        "ladder.1.attempts: -1 is too small",
        "write `attempts: 1` or more",
    ),
    "error beside a merge": (
        "ladder:\n  - &a {action: skip_batch, attempts: 2}\n  - attempts: 0\n    <<: *a\n",
        3,
        "ladder.1.attempts: 0 is too small",
        "write `attempts: 1` or more",
    ),
    "tab": ("detect:\n\tstate_every_steps: 3\n", 2, "holds a tab", "indent with spaces"),
    "indentation": (
        "detect:\n   state_every_steps: 3\n  spike: null\n",
        3,
        "is not indented",
        "in the same column",
    ),
    "second colon": ("version: 1\na: b: c\n", 2, "has a `:` where none can be", "put text in quotes"),
    "open bracket": (
        "version: 1\nladder: [{action: halt}\ncooldown_steps: 3\n",
        2,
        "opens a `[` or `{`",
        "close it",
    ),
    "open quote": ("version: 1\nx: 'abc\n\n", 2, "opens a quote that is never closed", "close the quote"),
    "two documents": ("version: 1\n---\nversion: 1\n", 2, "starts a second document", "keep one"),
    "undefined alias": ("version: 1\nladder: *a\n", 2, "names an anchor that is not there", "write `&name`"),
    "control character": ("version: 1\nx: a\0b\n", 2, "holds the control character \\x00", "remove it"),
    "empty": ("", 1, "is empty", "write at least `version: 1`"),
    "comments alone": ("# nothing yet\n", 1, "is empty", "write at least `version: 1`"),
    "list at the top": ("\n- action: halt\n", 2, "a list is not a mapping", "write keys and values"),
    "missing space": ("cooldown_steps:5\n", 1, '"cooldown_steps:5" is not a mapping', "as `version: 1`"),
    "windows line ends": (
        "version: 1\r\ncooldown_steps: 0\r\n",
        2,
        "cooldown_steps: 0 is too small",
        "or more",
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_the_mistake_is_named(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text, line, what, mend = MISTAKES[name]
    monkeypatch.chdir(tmp_path)
    Path("mine").mkdir()
    Path("mine/policy.yaml").write_bytes(text.encode())
    with pytest.raises(InputError) as caught:
        load_policy("mine/policy.yaml")
    (problem,) = [each for each in caught.value.problems if what in each]
    assert problem.startswith(f"mine/policy.yaml:{line}: {what}")
    assert mend in problem.split(what)[1]
    assert len(str(caught.value).splitlines()) == len(caught.value.problems)


@pytest.mark.parametrize("name", sorted(set(MISTAKES) - {"alias to itself", "error in an alias"}))
def test_and_nothing_else_is(name: str, tmp_path: Path) -> None:
    file = tmp_path / "policy.yaml"
    file.write_bytes(MISTAKES[name][0].encode())
    with pytest.raises(InputError) as caught:
        load_policy(file)
    assert len(caught.value.problems) == 1


def test_all_mistakes_are_named_at_once_in_the_order_of_their_lines(tmp_path: Path) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text(
        "version: 3\ncooldown_steps: 0\ncooldown_steps: 1\n"
        "ladder:\n  - {action: hlat}\nsnapshot:\nreactions: {x: 1}\n"
        "restart: !!python/name:os.system\ncheckpoint: {every_steps: no}\n"
    )
    with pytest.raises(InputError) as caught:
        load_policy(str(file))
    lines = [int(problem.removeprefix(f"{file}:").split(":")[0]) for problem in caught.value.problems]
    assert lines == [1, 2, 3, 5, 6, 7, 8, 9]


def test_conflicts_are_found_beside_other_mistakes() -> None:
    wrong = {
        "ladder": [],
        "reactions": {"divergence": "lower_lr", "loss_spike": "skip_batch"},
        "cooldown_steps": 0,
    }
    with pytest.raises(InputError) as caught:
        load_policy(wrong)
    assert [problem.split(": ")[1] for problem in caught.value.problems] == [
        "reactions.divergence",
        "reactions.loss_spike",
        "cooldown_steps",
    ]


def test_a_flood_of_mistakes_is_cut_short(tmp_path: Path) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text("".join(f"key{number}: 1\n" for number in range(150)))
    with pytest.raises(InputError) as caught:
        load_policy(file)
    assert caught.value.problems[-1] == "and 50 more problems"


def test_messages_stay_on_one_line() -> None:
    with pytest.raises(InputError) as caught:
        load_policy({"a\nb": 1, "cooldown_steps": "c\nd"})
    assert len(str(caught.value).splitlines()) == 2


def test_objects_are_refused_and_nothing_is_executed(tmp_path: Path) -> None:
    proof = tmp_path / "executed"
    file = tmp_path / "policy.yaml"
    for tag in ("!!python/object/apply:pathlib.Path.touch", "!!python/object/apply:os.mkdir"):
        file.write_text(f"restart: {tag} ['{proof}']\n")
        with pytest.raises(InputError, match="is not allowed"):
            load_policy(file)
        assert not proof.exists()


def test_a_policy_comes_back_as_it_is() -> None:
    policy = RecoveryPolicy(cooldown_steps=7)
    assert load_policy(policy) is policy


def test_any_mapping_will_do() -> None:
    frozen = MappingProxyType({"snapshot": MappingProxyType({"keep": 0})})
    assert load_policy(frozen).snapshot.keep == 0


@pytest.mark.parametrize("source", [5, [1], b"policy.yaml", True])
def test_other_things_are_no_policy(source: Any) -> None:
    with pytest.raises(InputError, match="is not a mapping"):
        load_policy(source)
