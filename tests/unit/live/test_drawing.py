"""The rows of the live view, in any size."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.pictures import RUNNING

from supervisor.events.narration import Tone
from supervisor.live.drawing import draw
from supervisor.live.glyphs import ASCII, UNICODE
from supervisor.live.picture import Picture


def plain(picture: Picture, width: int = 100, height: int = 12, **more: int) -> list[str]:
    return [row.plain for row in draw(picture, "runs/demo", width, height, **more)]


def test_all_that_is_known_has_its_place() -> None:
    assert plain(RUNNING) == [
        f"{'● recovering  runs/demo  EnergyTrainer on cpu':<90}1 min 12 s",
        "step       ━━━━━━━━━━━━━━━━━━━━━━━━─────────────────────────  200/400  50%  23 s left",
        "loss           ██████████▇▇▇▇▇▆▆▆▆▆▅▅▅▅▅▄▄▄▄▄▃▃▃▃▂▂▂▂▂▁▁▁▁▁▁  0.1311  grad 0.0762",
        "incidents         ▲                   ▲        ×              3  rung 2 reload_checkpoint  1 restart",
        "pace       lr 0.000767 (cut ×0.5)  8.26 steps/s  goodput 53%  485 MB  saved at step 160",
        "ladder     skip_batch 2 › lower_lr › [reload_checkpoint] › halt",
        "metrics    mrr 0.25",
    ]


@given(
    st.integers(0, 200),
    st.integers(0, 40),
    st.sampled_from([ASCII, UNICODE]),
    st.integers(0, 3),
    st.booleans(),
    st.sampled_from([None, 1, 10**12]),
)
def test_no_row_is_too_wide_and_no_row_too_many(
    width: int, height: int, glyphs: object, unseen: int, bare: bool, steps: int | None
) -> None:
    picture = replace(RUNNING, steps=steps, reason="why " * 200)
    if bare:
        picture = replace(picture, loss=None, losses=(), lr=None, grad_norm=None, seconds=None, speed=None, ladder=())
    rows = draw(picture, "ein/Lauf/漢字" * 9, width, height, glyphs=glyphs, unseen=unseen)  # type: ignore[arg-type]
    assert len(rows) <= height
    assert all(row.cell_len <= width for row in rows)
    assert bool(rows) == (width > 0 and height > 0)


def test_what_matters_least_gives_way_on_a_low_terminal() -> None:
    assert [row.split()[0] for row in plain(RUNNING, height=4)] == ["●", "step", "loss", "incidents"]
    assert [row.split()[0] for row in plain(RUNNING, height=2)] == ["●", "step"]
    assert plain(RUNNING, height=1) == ["● recovering  200/400  50%  23 s left  loss 0.1311"]


def test_a_narrow_terminal_has_the_numbers_alone() -> None:
    assert plain(RUNNING, width=20) == [
        "● recovering",
        "step 200/400  50%  …",
        "loss 0.1311  grad 0…",
        "incidents 3  rung 2…",
        "lr 0.000767 (cut ×0…",
    ]


def test_lines_that_are_out_of_sight_are_told_again_as_far_as_there_is_room() -> None:
    told = plain(RUNNING, unseen=2)[-2:]
    assert told == ["  step 30  nonfinite_gradient  → tried again", "  worker 7 died: killed (SIGKILL)"]
    assert plain(RUNNING, unseen=3, height=8)[-1] == "  step 113  nonfinite_parameter  → back to step 80"
    assert plain(RUNNING, unseen=0)[-1].startswith("metrics")


def test_where_there_is_something_to_say_about_the_state_it_is_said() -> None:
    dead = replace(RUNNING, state="dead", tone=Tone.BAD, reason="worker 7 is gone\x1b[2J\nand nobody starts it again")
    assert "why        worker 7 is gone\\x1b[2J and nobody starts it again" in plain(dead)


def test_names_of_others_are_shown_and_not_obeyed() -> None:
    hostile = replace(RUNNING, about="\x1b[31m\r\n", metrics={"\x1b]0;x\x07[bold]": 1.0})
    text = "\n".join(plain(hostile, width=120))
    assert text.replace("\n", "").isprintable()
    assert "[bold] 1" in text


def test_ascii_is_enough_where_there_is_nothing_else() -> None:
    rows = [row.plain for row in draw(replace(RUNNING, recent=()), "runs/demo", 100, 12, glyphs=ASCII)]
    assert all(row.isascii() for row in rows)
    assert rows[2].split()[1].strip("_.,-~=*#") == ""


def test_no_colour_means_anything_by_itself() -> None:
    """Green and red never stand for two answers: every tone has a word beside it, and there is no green."""
    for tone in Tone:
        rows = draw(replace(RUNNING, tone=tone), "runs/demo", 100, 12, unseen=3)
        assert all("green" not in str(style) for row in rows for style in (row.style, *(s.style for s in row.spans)))
        assert rows[0].plain.startswith("● recovering")


@pytest.mark.parametrize(("speed", "said"), [(8.26, "8.26 steps/s"), (0.5, "2 s/step")])
def test_the_pace_is_said_as_a_person_would(speed: float, said: str) -> None:
    assert said in plain(replace(RUNNING, speed=speed))[4]


def test_where_there_is_little_room_the_ladder_is_closed_up() -> None:
    ladder = ("skip_batch", "lower_lr", "reload_checkpoint", "try_cures", "reinitialize", "halt")
    default = replace(RUNNING, ladder=ladder, rung=None, cured={"skip_batch": 3, "reload_checkpoint": 1})
    row = "ladder     skip_batch 3 › lower_lr › reload_checkpoint 1 › try_cures › reinitialize › halt"
    assert row in plain(default, 100)
    assert row.replace(" › ", "›") in plain(default, 84)
    assert "ladder     skip_batch›lower_lr›reload_checkpoint›try_cures›reinitialize›halt" in plain(default, 79)
    assert not any(row.startswith("ladder") for row in plain(default, 60))


def test_a_run_without_an_end_has_no_share_and_no_time_left() -> None:
    row = plain(replace(RUNNING, steps=None, seconds_left=None))[1]
    assert row.endswith("  200")
    assert "━" not in row


def test_a_healthy_run_says_so() -> None:
    healthy = replace(
        RUNNING,
        incidents=0,
        incident_steps=(),
        restart_steps=(),
        restarts=0,
        rung=None,
        action=None,
        cured={},
        bad_batches=0,
        ranks=16,
    )
    rows = plain(healthy)
    assert rows[3].split() == ["incidents", "none"]
    assert "16 ranks" in rows[0]
