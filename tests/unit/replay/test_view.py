"""Both policies side by side, for people and for machines."""

from __future__ import annotations

import io
import json

from rich.console import Console

from supervisor.records import ActionName, Decision, SignalName
from supervisor.replay.replay import Comparison, Replayed
from supervisor.replay.view import plain_replay, render_replay

LOSS = (SignalName.NONFINITE_LOSS,)
SKIP = Decision(1, 0, ActionName.SKIP_BATCH, 1, "it opens incident 1")
HALT = Decision(1, 1, ActionName.HALT, 1, "nothing is left")
SAME = Comparison(5, 4, LOSS, LOSS, (SKIP,), (SKIP,))
PARTED = Comparison(9, 8, LOSS, LOSS, (SKIP,), (HALT,))
FOUND_NOW = Comparison(7, None, (), LOSS, (), (SKIP,))


def replayed(*comparisons: Comparison, halted_at: int | None = None) -> Replayed:
    return Replayed(comparisons, 20, halted_at, 0.5, {ActionName.SKIP_BATCH: 2})


def shown(of: Replayed) -> list[str]:
    console = Console(width=160, file=io.StringIO(), record=True)
    console.print(render_replay(of, "p.yaml"))
    return [line.rstrip() for line in console.export_text().splitlines()]


def test_a_run_that_neither_flags_is_one_sentence() -> None:
    assert shown(replayed()) == ["20 updates: neither the recorded policy nor p.yaml flags any"]


def test_what_a_halted_policy_does_not_see_is_one_line() -> None:
    unseen = [Comparison(update, update, LOSS, (), (SKIP,), ()) for update in range(10, 39)]
    lines = shown(replayed(PARTED, *unseen, halted_at=9))
    assert lines[2].split()[:9] == ["10...", "29", "more", "flagged", "updates", "of", "the", "recorded", "run"]
    assert lines[2].endswith("has halted")
    assert lines[3] == ""


def test_no_word_is_broken_on_a_narrow_terminal() -> None:
    both = (SignalName.NONFINITE_GRADIENT, SignalName.GRADIENT_OVERFLOW)
    console = Console(width=80, file=io.StringIO(), record=True)
    console.print(render_replay(replayed(Comparison(5, 4, both, both, (SKIP,), (SKIP,))), "configs/policies/p.yaml"))
    text = console.export_text()
    for word in ("nonfinite_gradient", "gradient_overflow", "skip_batch", "update"):
        assert word in text


def test_where_they_never_part_it_says_so() -> None:
    lines = shown(replayed(SAME))
    assert lines[1].split() == ["5", "4", "nonfinite_loss", "skip_batch", "(rung", "0)", "skip_batch", "(rung", "0)"]
    assert lines[3:] == [
        "p.yaml decides the same at every update.",
        "recorded: 1 skip_batch",
        "p.yaml: 1 skip_batch; goes through all 20 updates",
    ]


def test_where_they_part_it_says_at_which_update_and_why() -> None:
    lines = shown(replayed(SAME, PARTED, halted_at=9))
    assert lines[2].endswith("skip_batch (rung 0)  halt (rung 1)        differs")
    assert lines[4:7] == [
        "They part at update 9:",
        "  recorded: skip_batch: it opens incident 1",
        "  p.yaml: halt: nothing is left",
    ]
    assert lines[-1] == "p.yaml: 1 skip_batch, 1 halt; halts at update 9 of 20"


def test_what_only_one_of_them_found_shows_both() -> None:
    lines = shown(replayed(FOUND_NOW))
    assert lines[1].split()[:5] == ["7", "-", "none", "->", "nonfinite_loss"]
    assert "  recorded: not flagged" in lines


def test_the_same_action_for_another_reason_is_the_same() -> None:
    other = Comparison(5, 4, LOSS, LOSS, (SKIP,), (Decision(1, 0, ActionName.SKIP_BATCH, 2, "again"),))
    lines = shown(replayed(other))
    assert lines[1].endswith("skip_batch (rung 0)")
    assert "p.yaml decides the same at every update." in lines


def test_the_plain_form_is_json_and_has_everything() -> None:
    plain = plain_replay(replayed(SAME, PARTED, halted_at=9))
    assert json.loads(json.dumps(plain)) == plain
    assert (plain["updates"], plain["same"], plain["parts_at_update"], plain["halted_at_update"]) == (20, False, 9, 9)
    assert (plain["lr_scale"], plain["cured_by"]) == (0.5, {"skip_batch": 2})
    assert [each["same"] for each in plain["comparisons"]] == [True, False]
    assert plain["comparisons"][1]["replayed"] == {
        "signals": ["nonfinite_loss"],
        "decisions": [{"incident": 1, "rung": 1, "action": "halt", "attempt": 1, "reason": "nothing is left"}],
    }
    assert plain_replay(replayed(SAME))["parts_at_update"] is None
