"""The bar, the losses and the marks below them."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from support.pictures import RUNNING

from supervisor.live.glyphs import ASCII, UNICODE
from supervisor.live.track import bar, loss_track, marks_track


@pytest.mark.parametrize(
    ("step", "steps", "drawn"),
    [(0, 10, "----------"), (4, 10, "####------"), (10, 10, "##########"), (12, 10, "##########"), (5, None, "-" * 10)],
)
def test_the_bar_is_full_when_it_is_done_and_not_before(step: int, steps: int | None, drawn: str) -> None:
    assert bar(step, steps, 10, ASCII).plain == drawn
    assert bar(999, 1000, 10, ASCII).plain == "#########-"


def test_losses_go_down_from_left_to_right() -> None:
    drawn = loss_track(RUNNING, 20, UNICODE).plain
    assert len(drawn) == 20
    assert [UNICODE.levels.index(sign) for sign in drawn.strip()] == sorted(
        (UNICODE.levels.index(sign) for sign in drawn.strip()), reverse=True
    )
    assert (drawn.strip()[0], drawn.strip()[-1]) == ("█", "▁")


def test_a_loss_that_is_not_finite_is_a_sign_of_its_own() -> None:
    odd = replace(RUNNING, losses=((50, 1.0), (100, math.inf), (150, 2.0)))
    assert loss_track(odd, 4, ASCII).plain == " _!#"


def test_marks_stand_below_the_losses_of_their_steps() -> None:
    assert marks_track(RUNNING, 20, ASCII).plain == "   ^       ^   x    "
    assert marks_track(replace(RUNNING, incident_steps=(150,)), 20, ASCII).plain == " " * 15 + "x    "
    # A run that has gone back: the marks beyond stand at its end.
    assert marks_track(replace(RUNNING, step=100, losses=((99, 1.0),)), 10, ASCII).plain == "   ^     x"


def test_without_room_there_is_no_track() -> None:
    assert (
        loss_track(RUNNING, 0, ASCII).plain == bar(1, 2, 0, ASCII).plain == marks_track(RUNNING, 0, ASCII).plain == ""
    )


def test_without_a_step_nothing_is_divided_by_zero() -> None:
    begun = replace(RUNNING, step=0, losses=(), incident_steps=(0,), restart_steps=())
    assert marks_track(begun, 4, ASCII).plain == "^   "
    assert loss_track(begun, 4, ASCII).plain == "    "
