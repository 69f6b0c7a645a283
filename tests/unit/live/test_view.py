"""The live view of one run on one terminal."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from support.terminal import Terminal

from supervisor.errors import InputError
from supervisor.events.owner_file import claim
from supervisor.live.screen import Screen
from supervisor.live.view import HISTORY, LiveView

CLAIM = "import sys; from pathlib import Path; from supervisor.events.owner_file import claim; claim(Path(sys.argv[1]))"

Make = Callable[..., LiveView]


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    with Terminal(100, 30) as made:
        yield made


@pytest.fixture
def make(written: Any, terminal: Terminal) -> Make:
    def make(**more: Any) -> LiveView:
        screen = Screen(terminal.descriptor, "utf-8")
        return LiveView(written.layout, "runs/mine", screen, more.pop("encoding", "utf-8"), written.clock, **more)

    return make


def show(view: LiveView, terminal: Terminal, *before: str) -> list[str]:
    lines, picture = view.look()
    view.screen.draw([*before, *lines], view.rows(picture))
    return terminal.rows


def test_what_comes_is_printed_once_above_a_view_of_now(written: Any, terminal: Terminal, make: Make) -> None:
    view = make()
    written.begin()
    written.step(11, 19, loss=3.0)
    show(view, terminal)
    written.flag(12, 30, 1)
    written.step(21, 39, loss=2.0)
    rows = show(view, terminal)
    assert rows[:4] == [
        "run r started: steps 100, trainer mine:Tiny, device cpu",
        "step 30  nonfinite_loss  → skipped",
        "",
        "● recovering  runs/mine  Tiny on cpu" + " " * 59 + "21 s",
    ]
    assert rows == show(view, terminal)
    assert view.goes_on


def test_of_one_that_goes_on_already_the_last_lines_are_told(written: Any, terminal: Terminal, make: Make) -> None:
    written.begin()
    for number in range(1, 21):
        written.flag(number, number, number)
        written.close(number, number + 1, number)
    view = make()
    told = view.history()
    assert len(told) == HISTORY + 1
    assert told[0] == "(11 earlier lines: supervisor watch runs/mine | less)"
    assert "step 20  nonfinite_loss" in told[-1]
    assert view.look()[0] == []


def test_what_was_told_before_a_resume_is_not_told_again(written: Any, terminal: Terminal, make: Make) -> None:
    written.begin()
    written.flag(5, 30, 1)
    view = make()
    view.pass_over()
    rows = show(view, terminal)
    assert rows[-1] == "  step 30  nonfinite_loss  → skipped", "it is in sight below the view"
    assert sum("nonfinite_loss" in row for row in rows) == 1


def test_lines_about_the_run_stay_in_sight_when_others_push_them_away(
    written: Any, terminal: Terminal, make: Make
) -> None:
    view = make()
    written.begin()
    written.flag(5, 30, 1)
    assert sum("nonfinite_loss" in row for row in show(view, terminal)) == 1
    show(view, terminal, *(f"print {number}" for number in range(60)))
    rows = show(view, terminal)
    assert rows[-1] == "  step 30  nonfinite_loss  → skipped"
    assert sum("nonfinite_loss" in row for row in rows) == 1


def test_a_restart_of_the_worker_and_a_resume_are_one_history(written: Any, terminal: Terminal, make: Make) -> None:
    view = make()
    written.begin()
    written.step(11, 19)
    show(view, terminal)
    written.die(12)
    assert any("restarting in 4 s" in row for row in show(view, terminal))
    written.resume(17, 10)
    rows = show(view, terminal)
    assert rows[1:4] == [
        "worker 7 died: killed (SIGKILL)",
        "worker 8 was started again (restart 1)",
        "resumed from the checkpoint of step 10",
    ]
    assert any(row.startswith("step ") and "10/100  10%" in row for row in rows)
    assert any("1 restart" in row for row in rows)


def test_one_that_is_dead_does_not_go_on(written: Any, terminal: Terminal, make: Make) -> None:
    written.begin()
    view = make()
    claim(written.layout.lock)
    show(view, terminal)
    assert view.goes_on
    subprocess.run([sys.executable, "-c", CLAIM, str(written.layout.lock)], check=True)
    rows = show(view, terminal)
    assert not view.goes_on
    assert any(row.startswith("● dead") for row in rows)
    assert any(row.startswith("why") and "there is no checkpoint to go on from" in row for row in rows)


def test_an_end_and_what_was_asked_for_are_told(written: Any, terminal: Terminal, make: Make) -> None:
    asked: list[bool] = []
    view = make(stopping=lambda: bool(asked))
    written.begin()
    assert "● running" in show(view, terminal)[2]
    asked.append(True)
    assert "● stopping after this step" in show(view, terminal)[2]
    view.end()
    assert "● given up" in show(view, terminal)[2]
    written.finish(9)
    assert "● finished" in show(view, terminal)[3]
    assert not view.goes_on


def test_a_line_of_output_that_has_not_ended_stands_above_the_view(
    written: Any, terminal: Terminal, make: Make
) -> None:
    view = make()
    written.begin()
    _, picture = view.look()
    rows = view.rows(picture, "\x1b[32m 50%|#####     |\x1b[0m" + "x" * 200)
    assert rows[0].plain.startswith(" 50%|#####     |xxx")
    assert rows[0].cell_len == 99
    assert view.rows(None, "  ") == []


@pytest.mark.parametrize(("columns", "rows"), [(20, 3), (20, 24), (1, 1), (80, 2), (200, 5)])
def test_a_small_terminal_breaks_nothing(written: Any, terminal: Terminal, make: Make, columns: int, rows: int) -> None:
    terminal.resize(columns, rows)
    view = make()
    written.begin()
    for number in range(5):
        written.step(2 + number, number)
        lines, picture = view.look()
        drawn = view.rows(picture, "unfinished")
        view.screen.draw(lines, view.rows(picture))
        assert len(drawn) <= max(0, rows - 1)
        assert all(row.cell_len < columns for row in drawn)
    assert terminal.cursor[1:] == (0, True)


def test_a_narrow_encoding_is_drawn_with_what_there_is(written: Any, terminal: Terminal, make: Make) -> None:
    written.begin()
    view = make(encoding="ascii")
    rows = show(view, terminal)
    assert all(row.isascii() for row in rows)
    assert rows[2].startswith("* running")


def test_a_damaged_log_is_told_with_its_place(written: Any, make: Make) -> None:
    view = make()
    written.begin()
    view.look()
    with written.layout.rank_events.open("a") as file:
        file.write("nonsense\n{}\n")
    with pytest.raises(InputError, match=r"rank0\.jsonl:2"):
        view.look()
