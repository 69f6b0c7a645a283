"""A step as people see it."""

from __future__ import annotations

from supervisor.events.step_line import COLUMNS, Shown, counted, fitted, numbers_of, step_line

ALL = Shown(
    step=139,
    loss=0.70312,
    grad_norm=1.5,
    lr=5e-4,
    cut=True,
    rung=2,
    incidents=1,
    goodput=0.984,
    steps_a_second=2.0,
    memory=812_000_000,
)


def test_all_that_is_known_is_told() -> None:
    assert step_line(ALL, 2000) == (
        "step 140/2000  7%  loss 0.7031  grad 1.5  lr 0.0005 (cut)  2 steps/s  16 min left  goodput 98%  812 MB  "
        "1 incident"
    )
    assert numbers_of(ALL, 2000)[-1] == "rung 2"


def test_what_is_not_known_is_left_out() -> None:
    assert step_line(Shown(step=139, loss=float("nan"), grad_norm=2), None) == "step 140  loss nan  grad 2"


def test_slow_steps_are_told_in_seconds() -> None:
    assert "40 s/step" in step_line(Shown(step=0, loss=1, grad_norm=1, steps_a_second=0.025), None)


def test_what_matters_least_gives_way() -> None:
    long = Shown(**{name: getattr(ALL, name) for name in Shown.__slots__} | {"step": 123_456_788, "memory": 10**15})
    assert len(step_line(long, 987_654_321)) <= COLUMNS
    assert "12%" in step_line(long, 987_654_321)
    assert fitted(["a", "bb", "c"], 5) == "a  bb"
    assert fitted(["too long"], 2) == "too long"


def test_it_is_not_done_before_it_is_done() -> None:
    assert "  99%  " in step_line(Shown(step=1998, loss=1, grad_norm=1), 2000)
    assert "  100%  " in step_line(Shown(step=1999, loss=1, grad_norm=1), 2000)


def test_one_and_many() -> None:
    assert (counted(1, "step"), counted(2, "step")) == ("1 step", "2 steps")
